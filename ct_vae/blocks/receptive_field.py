"""Receptive fields along the first spatial axis, which allow volumes to be processed in slabs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

PaddingMode = Literal["zeros", "replicate", "reflect", "circular"]
Operator = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class ReceptiveField:
    """Slices along the first spatial axis that one step of an operator reads and writes.

    The input is padded with ``low`` slices before and ``high`` slices after. Step ``i`` then reads
    slices ``stride * i`` to ``stride * i + kernel - 1`` and writes slices ``repeats * i`` to
    ``repeats * (i + 1) - 1``. The defaults describe an operator that treats each slice
    independently.

    Attributes:
        kernel: Slices read by one step.
        stride: Slices between the first slices read by two consecutive steps.
        low: Slices of padding before the first slice.
        high: Slices of padding after the last slice.
        mode: Padding of the border.
        repeats: Slices written by one step.
    """

    kernel: int = 1
    stride: int = 1
    low: int = 0
    high: int = 0
    mode: PaddingMode = "zeros"
    repeats: int = 1

    def steps(self, length: int) -> int:
        """Return the number of steps over an input of ``length`` slices."""
        return (length + self.low + self.high - self.kernel) // self.stride + 1


class LocalModule(nn.Module, ABC):
    """Module with a bounded receptive field, which can therefore be streamed slab by slab."""

    @abstractmethod
    def receptive_field(self) -> ReceptiveField:
        """Return the receptive field along the first spatial axis."""

    @abstractmethod
    def unpadded_operator(self) -> Operator:
        """Return the same operator without padding along the first spatial axis.

        Returns:
            Function from ``(B, C, stride * (n - 1) + kernel, ...)`` to ``(B, C', repeats * n,
            ...)``. Anything that depends only on the weights is computed once, before this method
            returns.
        """


class ChainModule(nn.Module, ABC):
    """Module that applies other modules in sequence."""

    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """Return the modules in the order in which they are applied."""


class PerSlice(LocalModule):
    """Module that processes every slice independently, without padding."""

    def receptive_field(self) -> ReceptiveField:
        """Return a receptive field of one slice."""
        return ReceptiveField()

    def unpadded_operator(self) -> Operator:
        """Return the module itself."""
        return self


class PerVoxel(PerSlice):
    """Module that processes every voxel independently."""
