"""Normalization layers for feature maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from ct_vae.blocks.receptive_field import PerSlice, PerVoxel
from ct_vae.errors import ConfigError

NormKind = Literal["group", "rms", "layer"]
# Function of a map and parameters.
Normalize = Callable[..., torch.Tensor]
MOST_GROUPS = 32
EPS = 1e-6


def group_count(channels: int, norm_groups: int | None) -> int:
    """Return ``norm_groups``, or the largest divisor of ``channels`` up to 32 if it is ``None``.

    Raises:
        ConfigError: If ``norm_groups`` does not divide ``channels``.
    """
    if norm_groups is None:
        return next(n for n in range(min(MOST_GROUPS, channels), 0, -1) if channels % n == 0)
    if norm_groups < 1 or channels % norm_groups:
        raise ConfigError(
            f"norm_groups {norm_groups} does not divide {channels} channels",
            "choose a divisor of the channels of every level, or leave it out",
        )
    return norm_groups


def group_norm(
    spatial_dims: int,  # noqa: ARG001 - all layer factories share this signature
    channels: int,
    norm_groups: int | None = None,
) -> nn.Module:
    """Create group normalization (Wu and He 2018) with eps 1e-6, as in Stable Diffusion."""
    return GroupNormND(group_count(channels, norm_groups), channels, eps=EPS)


class GroupNormND(nn.GroupNorm):
    """Group normalization with accurate sums over large volumes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize ``(B, channels, *spatial)``."""
        # On a CPU, PyTorch sums channels-last float32 tensors sequentially: over two million
        # voxels the error is 1e-4 instead of 1e-7. Training patches are small enough, and copying
        # them would take time.
        exact = x.device.type == "cpu" and not torch.is_grad_enabled()
        return _in_precision_of(x.contiguous() if exact else x, self._normalize, *self.parameters())

    def _normalize(self, x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        weight, bias = parameters
        return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


class RMSNormND(PerVoxel):
    """Root-mean-square normalization of each voxel over its channels (Zhang and Sennrich 2019).

    The output at a voxel depends on no other voxel, so tiles give the same result as the whole
    volume.

    Args:
        channels: Channels of input and output ``(B, channels, *spatial)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize ``(B, channels, *spatial)``."""
        return _in_precision_of(x, _rms_norm, self.weight)


class LayerNormND(PerVoxel):
    """Layer normalization of each voxel over its channels (Ba et al. 2016).

    Args:
        channels: Channels of input and output ``(B, channels, *spatial)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize ``(B, channels, *spatial)``."""
        return _in_precision_of(x, _layer_norm, self.weight, self.bias)


def _rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(x.movedim(1, -1), weight.shape, weight, EPS).movedim(-1, 1)


def _layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    rows = x.movedim(1, -1)
    return functional.layer_norm(rows, weight.shape, weight, bias, EPS).movedim(-1, 1)


def _in_precision_of(
    x: torch.Tensor, normalize: Normalize, *parameters: torch.Tensor
) -> torch.Tensor:
    """Normalize in the precision of the parameters, and return the type of the input.

    Under autocast the input is in half precision and the parameters are in float32.
    """
    dtype = parameters[0].dtype
    if x.dtype.itemsize >= dtype.itemsize:
        return normalize(x.to(dtype), *parameters)
    # A compiler decides itself what to keep, and would interrupt its graph here.
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        result: torch.Tensor = _WideNormalization.apply(normalize, x, *parameters)  # type: ignore[no-untyped-call]
        return result
    return normalize(x.to(dtype), *parameters).to(x.dtype)


class _WideNormalization(torch.autograd.Function):
    """Normalization of a map in half precision that computes in the precision of its parameters.

    Only the map itself is kept for the backward pass, which normalizes it again.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, normalize: Normalize, x: torch.Tensor, *parameters: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(x, *parameters)
        ctx.normalize = normalize  # type: ignore[attr-defined]
        return normalize(x.to(parameters[0].dtype), *parameters).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # True for second derivatives.
        again = torch.is_grad_enabled()
        x, *parameters = (
            each if again and each.requires_grad else each.detach().requires_grad_()
            for each in ctx.saved_tensors
        )
        with torch.enable_grad():
            result = ctx.normalize(x.to(parameters[0].dtype), *parameters).to(x.dtype)
        found = torch.autograd.grad(result, [x, *parameters], gradient, create_graph=again)
        return None, *found


class AdaptiveNormND(nn.Module):
    """Normalization whose scale and shift are computed from a latent, per voxel.

    Follows the decoder of MAGVIT-v2 (Yu et al. 2023, section 3.2), but with a scale and shift for
    each latent voxel: pooled ones would make every voxel depend on the whole volume.

    Args:
        norm: Normalization of ``(B, channels, *spatial)``.
        modulation: Module from the latent to ``2 * channels`` channels: scales minus one, then
            shifts.
    """

    def __init__(self, norm: nn.Module, modulation: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = modulation
        self.modulate = Modulate()
        # Zero weights start with the identity: scale 1 and shift 0.
        for parameter in modulation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Normalize ``x``, then scale and shift it.

        Args:
            x: Feature map ``(B, channels, *spatial)``.
            latent: Latent whose spatial sizes divide those of ``x``.
        """
        # A 1-wide convolution commutes with repeating voxels and is cheaper on the small map.
        result: torch.Tensor = self.modulate(self.norm(x), self.modulation(latent))
        return result


class Modulate(PerSlice):
    """Scale and shift of every voxel by a coarser map, upsampled to nearest neighbors."""

    def forward(self, x: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """Scale and shift ``x``.

        Args:
            x: Feature map ``(B, channels, *spatial)``.
            modulation: Map ``(B, 2 * channels, ...)`` of scales minus one, then shifts; its spatial
                sizes divide those of ``x``.
        """
        scale, shift = functional.interpolate(modulation, size=x.shape[2:]).chunk(2, dim=1)
        return x * (1 + scale) + shift
