"""Group normalization of feature maps that arrive slab by slab."""

from __future__ import annotations

import torch
from torch import nn

# Values processed at once; they fit into the cache of a processor.
_AT_ONCE = 2**17


class RunningMoments:
    """Running mean and sum of squared deviations per channel, in float64 on the slabs' device.

    The moments of each slab are merged into those of the slabs before (Chan, Golub and LeVeque
    1983). Nothing is copied to the host, so that a GPU can run ahead.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self.count = 0
        self._mean: torch.Tensor | float = 0.0
        self._squares: torch.Tensor | float = 0.0
        self._shift: torch.Tensor | None = None

    def add(self, slab: torch.Tensor) -> None:
        """Add slices ``(1, C, n, Y, Z)`` with channels last in memory."""
        count = slab.numel() // self._channels
        mean, squares = self._of(slab)
        self.merge(count, mean, squares)

    def merge(self, count: int, mean: torch.Tensor, squares: torch.Tensor) -> None:
        """Add the mean and the sum of squared deviations ``(C,)`` of ``count`` other values."""
        total = self.count + count
        distance = mean - self._mean
        self._mean = self._mean + distance * (count / total)
        between = distance.square() * (self.count * (count / total))
        self._squares = self._squares + squares + between
        self.count = total

    def totals(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean and the sum of squared deviations ``(C,)`` of all values."""
        assert isinstance(self._mean, torch.Tensor)
        assert isinstance(self._squares, torch.Tensor)
        return self._mean, self._squares

    def affine(self, norm: nn.GroupNorm) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale and shift ``(C,)`` in float64 that are equivalent to a normalization."""
        means, squares = self.totals()
        grouped, spread = (v.view(norm.num_groups, -1) for v in (means, squares))
        mean = grouped.mean(1, keepdim=True)
        variance = (spread / self.count + (grouped - mean).square()).mean(1, keepdim=True)
        scale = (variance + norm.eps).rsqrt().expand_as(grouped).flatten()
        offset = -mean.expand_as(grouped).flatten() * scale
        if norm.affine:
            weight, bias = norm.weight.double(), norm.bias.double()
            scale, offset = scale * weight, offset * weight + bias
        return scale, offset

    def _of(self, slab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean and the sum of squared deviations of a slab in float64."""
        if slab.device.type == "cpu":
            return self._by_sums(slab)
        # One fused reduction, which is accurate on a GPU.
        values = slab.to(torch.promote_types(slab.dtype, torch.float32))
        variance, mean = torch.var_mean(values, dim=(0, 2, 3, 4), correction=0)
        return mean.double(), variance.double() * (slab.numel() // self._channels)

    def _by_sums(self, slab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the moments from sums over parts that fit into a processor's cache.

        PyTorch's own reduction on a CPU adds channels-last values one after the other in float32.
        Sums are relative to a value close to the mean: around zero, they would lose the digits of a
        small variance around a large mean.
        """
        rows = rows_of(slab)
        shift = self._shift_of(rows)
        dtype = torch.promote_types(slab.dtype, torch.float32)
        step = max(1, _AT_ONCE // rows.shape[1])
        scratch = torch.empty(min(step, len(rows)), rows.shape[1], dtype=dtype)
        sums = torch.zeros(2, rows.shape[1], dtype=torch.float64)
        for some in torch.split(rows, step):
            centered = torch.sub(some, shift, out=scratch[: len(some)])
            sums[0] += centered.sum(0)
            sums[1] += centered.square_().sum(0)
        first, second = sums.view(2, -1, self._channels).sum(1)
        count = rows.numel() // self._channels
        mean = shift[: self._channels].double() + first / count
        return mean, second - first.square() / count

    def _shift_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the channel means of the first row, repeated along a row."""
        if self._shift is None:
            dtype = torch.promote_types(rows.dtype, torch.float32)
            mean = rows[0].view(-1, self._channels).to(dtype).mean(0)
            self._shift = mean.repeat(rows.shape[1] // self._channels)
        return self._shift


class GroupAffine:
    """Group normalization with known moments as a function of single voxels, in place.

    Args:
        moments: Moments of the complete map.
        norm: Normalization.
        dtype: Data type of the map.
        along: Voxels along the last axis.
    """

    def __init__(
        self, moments: RunningMoments, norm: nn.GroupNorm, dtype: torch.dtype, along: int
    ) -> None:
        wide = torch.promote_types(dtype, torch.float32)
        self._scale, self._shift = (v.to(wide).repeat(along) for v in moments.affine(norm))

    def __call__(self, lines: torch.Tensor) -> torch.Tensor:
        """Normalize ``(1, C, n, Z)`` with channels last in memory."""
        _, channels, n, z = lines.shape
        # Long rows let operators with one number per channel run at memory speed.
        rows = lines.permute(0, 2, 3, 1).view(n, z * channels)
        torch.addcmul(self._shift, rows, self._scale, out=rows)
        return lines


def rows_of(slab: torch.Tensor) -> torch.Tensor:
    """View ``(1, C, n, Y, Z)`` with channels last as ``(n * Y, Z * C)``.

    Long rows let element-wise operators with one number per channel run at memory speed.
    """
    _, channels, n, y, z = slab.shape
    return slab.permute(0, 2, 3, 4, 1).view(n * y, z * channels)
