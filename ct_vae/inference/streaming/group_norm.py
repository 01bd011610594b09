"""Group normalization of feature maps that arrive slab by slab."""

from __future__ import annotations

import torch
from torch import nn

# Values processed at once; they fit into the cache of a processor.
_AT_ONCE = 2**17


class RunningMoments:
    """Running sums per channel, in float64 and relative to a value close to the mean.

    Sums of squares around zero would lose the digits of a small variance around a large mean.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._count = 0
        self._shift: torch.Tensor | None = None
        self._sums = torch.zeros(2, channels, dtype=torch.float64)

    def add(self, slab: torch.Tensor) -> None:
        """Add slices ``(1, C, n, Y, Z)`` with channels last in memory."""
        rows = rows_of(slab)
        shift = self._shift_of(rows)
        dtype = torch.promote_types(slab.dtype, torch.float32)
        step = max(1, _AT_ONCE // rows.shape[1])
        scratch = torch.empty(min(step, len(rows)), rows.shape[1], dtype=dtype, device=slab.device)
        sums = torch.zeros(2, rows.shape[1], dtype=torch.float64, device=slab.device)
        for some in torch.split(rows, step):
            centered = torch.sub(some, shift, out=scratch[: len(some)])
            sums[0] += centered.sum(0)
            sums[1] += centered.square_().sum(0)
        self._sums += sums.view(2, -1, self._channels).sum(1).cpu()
        self._count += rows.numel() // self._channels

    def affine(self, norm: nn.GroupNorm) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale and shift ``(C,)`` in float64 that are equivalent to a normalization.

        The moments of channels are merged to those of groups (Chan, Golub and LeVeque 1983).
        """
        assert self._shift is not None
        centered = self._sums[0] / self._count
        means = self._shift[: self._channels].double().cpu() + centered
        squares = self._sums[1] - self._count * centered.square()
        grouped, spread = (v.view(norm.num_groups, -1) for v in (means, squares))
        mean = grouped.mean(1, keepdim=True)
        variance = (spread / self._count + (grouped - mean).square()).mean(1, keepdim=True)
        scale = (variance + norm.eps).rsqrt().expand_as(grouped).flatten()
        offset = -mean.expand_as(grouped).flatten() * scale
        if norm.affine:
            weight, bias = norm.weight.double().cpu(), norm.bias.double().cpu()
            scale, offset = scale * weight, offset * weight + bias
        return scale, offset

    def _shift_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the channel means of the first row, repeated along a row."""
        if self._shift is None:
            dtype = torch.promote_types(rows.dtype, torch.float32)
            mean = rows[0].view(-1, self._channels).to(dtype).mean(0)
            self._shift = mean.repeat(rows.shape[1] // self._channels)
        return self._shift


def rows_of(slab: torch.Tensor) -> torch.Tensor:
    """View ``(1, C, n, Y, Z)`` with channels last as ``(n * Y, Z * C)``.

    Long rows let element-wise operators with one number per channel run at memory speed.
    """
    _, channels, n, y, z = slab.shape
    return slab.permute(0, 2, 3, 4, 1).view(n * y, z * channels)
