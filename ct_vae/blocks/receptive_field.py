"""What an operator sees along one axis, by which a volume can pass through it slab by slab."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

PaddingMode = Literal["zeros", "replicate", "reflect", "circular"]
Ready = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Reach:
    """Which slices along the first spatial axis a step of an operator needs.

    The input is extended by ``low`` slices before its first and ``high`` after its last. Step ``i``
    then reads slices ``stride * i`` to ``stride * i + kernel - 1`` and gives slices ``repeats * i``
    to ``repeats * (i + 1) - 1``. The default is an operator for which no two slices meet.
    """

    kernel: int = 1
    stride: int = 1
    low: int = 0
    high: int = 0
    mode: PaddingMode = "zeros"
    repeats: int = 1

    def steps(self, length: int) -> int:
        """Steps over an input of ``length`` slices."""
        return (length + self.low + self.high - self.kernel) // self.stride + 1


class LocalModule(nn.Module, ABC):
    """A module that reads only a few slices for each that it gives: all that streaming asks for."""

    @abstractmethod
    def reach(self) -> Reach:
        """What it reads along the first spatial axis."""

    @abstractmethod
    def ready(self) -> Ready:
        """The same operator without any padding along the first spatial axis.

        Returns:
            From ``(B, C, stride * (n - 1) + kernel, ...)`` to ``(B, C', repeats * n, ...)``. What
            follows from the weights alone is computed once, before it is given.
        """


class ChainModule(nn.Module, ABC):
    """A module that is nothing but others in turn."""

    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The modules, first to last."""


class PerSlice(LocalModule):
    """A module that maps every slice on its own: ``forward`` is all there is to it."""

    def reach(self) -> Reach:
        """One slice for one slice."""
        return Reach()

    def ready(self) -> Ready:
        """The module itself."""
        return self
