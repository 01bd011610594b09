"""Mean and variance of the channels of a map that is seen slab by slab."""

from __future__ import annotations

import torch
from torch import nn

# Values looked at in one go: they stay in the cache of a processor.
_AT_ONCE = 2**17


class RunningMoments:
    """Sums per channel around a shift that lies near the mean, gathered in float64.

    Sums of squares around zero would lose what a large mean leaves of a small variance.

    Args:
        channels: Of the map.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._count = 0
        self._shift: torch.Tensor | None = None
        self._sums = torch.zeros(2, channels, dtype=torch.float64)

    def add(self, slab: torch.Tensor) -> None:
        """Count in ``(1, C, n, Y, Z)`` with channels last in memory."""
        rows = rows_of(slab)
        shift = self._shift_of(rows)
        wide = torch.promote_types(slab.dtype, torch.float32)
        step = max(1, _AT_ONCE // rows.shape[1])
        room = torch.empty(min(step, len(rows)), rows.shape[1], dtype=wide, device=slab.device)
        sums = torch.zeros(2, rows.shape[1], dtype=torch.float64, device=slab.device)
        for some in torch.split(rows, step):
            apart = torch.sub(some, shift, out=room[: len(some)])
            sums[0] += apart.sum(0)
            sums[1] += apart.square_().sum(0)
        self._sums += sums.view(2, -1, self._channels).sum(1).cpu()
        self._count += rows.numel() // self._channels

    def affine(self, norm: nn.GroupNorm) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift ``(C,)`` in float64 by which a normalization acts on the map.

        Moments of channels are merged to those of groups after Chan, Golub and LeVeque 1983.
        """
        assert self._shift is not None
        apart = self._sums[0] / self._count
        means = self._shift[: self._channels].double().cpu() + apart
        squares = self._sums[1] - self._count * apart.square()
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
        """Means of the first row's channels, repeated along a row."""
        if self._shift is None:
            wide = torch.promote_types(rows.dtype, torch.float32)
            mean = rows[0].view(-1, self._channels).to(wide).mean(0)
            self._shift = mean.repeat(rows.shape[1] // self._channels)
        return self._shift


def rows_of(slab: torch.Tensor) -> torch.Tensor:
    """View ``(1, C, n, Y, Z)`` with channels last as ``(n * Y, Z * C)``.

    Long rows let element-wise operators with one number per channel run at the speed of memory.
    """
    _, channels, n, y, z = slab.shape
    return slab.permute(0, 2, 3, 4, 1).view(n * y, z * channels)
