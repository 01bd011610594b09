"""Blending of overlapping tiles with Gaussian weights, in rows along the first axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import torch
from torch.nn import functional

from ct_vae.inference.streaming.executor import Sink
from ct_vae.inference.volume_adapter import Triple
from ct_vae.progress import report_fraction

Operator = Callable[[torch.Tensor], torch.Tensor]
_HOST = torch.device("cpu")
# Standard deviation of the weights as a fraction of a tile, and the smallest weight.
_SIGMA, _LEAST_WEIGHT = 0.125, 1e-3


@dataclass(frozen=True)
class Blending:
    """Tiles of a volume, computed in batches and blended like by MONAI's ``SlidingWindowInferer``.

    Only the tiles of one row, which share their position along the first axis, are in memory at a
    time: their sum is complete as soon as the next row begins further on.

    Attributes:
        tile: Sides of a tile in elements of the input.
        overlap: Elements that neighboring tiles share along each axis.
        batch: Tiles that the network computes at once.
        device: Device of the network.
        stitching: Device on which tiles are added.
    """

    tile: Triple
    overlap: Triple
    batch: int
    device: torch.device
    stitching: torch.device

    def run(self, operator: Operator, volume: torch.Tensor, sink: Sink) -> None:
        """Apply a network to all tiles of a volume.

        Args:
            operator: Function from tiles ``(n, C, *tile)`` on ``device`` to their results, whose
                sides are proportional to those of the tiles.
            volume: Input ``(1, C, X, Y, Z)`` on any device.
            sink: Function that receives the blended slices in order, on ``stitching``.
        """
        sides = tuple(volume.shape[2:])
        first, *others = (
            tile_starts(*each) for each in zip(sides, self.tile, self.overlap, strict=True)
        )
        positions = list(product(*others))
        groups = [positions[i : i + self.batch] for i in range(0, len(positions), self.batch)]
        row: _Row | None = None
        for number, start in enumerate(first):
            # One copy serves all tiles of the row.
            source = volume[:, :, start : start + self.tile[0]].to(self.stitching)
            for done, group in enumerate(groups, 1):
                results = operator(self._tiles(source, group))
                if row is None:
                    row = _Row(sides, self.tile, results, volume.dtype, self.stitching)
                for position, result in zip(group, results, strict=True):
                    row.add(position, result)
                report_fraction((number + done / len(groups)) / len(first))
            assert row is not None
            stop = first[number + 1] if number + 1 < len(first) else sides[0]
            sink(*row.complete(start, stop))

    def smaller(self) -> Blending | None:
        """Return one that needs less memory of the device, or ``None`` if there is none."""
        if self.batch > 1:
            return replace(self, batch=self.batch // 2)
        return None if self.stitching == _HOST else replace(self, stitching=_HOST)

    def _tiles(self, source: torch.Tensor, group: Sequence[tuple[int, ...]]) -> torch.Tensor:
        _, y_side, z_side = self.tile
        tiles = [source[..., y : y + y_side, z : z + z_side] for y, z in group]
        return (tiles[0] if len(tiles) == 1 else torch.cat(tiles)).to(self.device)


class _Row:
    """Weighted sums of the tiles of one row.

    Args:
        sides: Sides of the input.
        tile: Sides of a tile of the input.
        results: Results of a batch of tiles; they determine channels and proportions.
        dtype: Type of the sums.
        device: Device of the sums.
    """

    def __init__(
        self,
        sides: Sequence[int],
        tile: Triple,
        results: torch.Tensor,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        a, b, c = results.shape[2:]
        self._tile, self._given = tile, (a, b, c)
        self._weights = importance_weights(tile, self._given, dtype, device)
        across = tuple(self._scaled(n, axis) for axis, n in enumerate(sides) if axis)
        self._sums = torch.zeros(1, results.shape[1], a, *across, dtype=dtype, device=device)
        self._norm = torch.zeros(a, *across, dtype=dtype, device=device)

    def _scaled(self, position: int, axis: int) -> int:
        """Convert a position in the input to one in the result."""
        return position * self._given[axis] // self._tile[axis]

    def add(self, position: tuple[int, ...], result: torch.Tensor) -> None:
        """Add the result ``(C, *tile)`` of a tile at a position across the row."""
        y, z = (self._scaled(n, axis) for axis, n in enumerate(position, 1))
        at = (..., slice(y, y + self._given[1]), slice(z, z + self._given[2]))
        moved = result.to(self._sums.device, self._sums.dtype)
        self._sums[0][at].addcmul_(moved, self._weights)
        self._norm[at] += self._weights

    def complete(self, start: int, stop: int) -> tuple[int, torch.Tensor]:
        """Return the position and the slices before the next row, and make room for that row."""
        begin, end = self._scaled(start, 0), self._scaled(stop, 0)
        count = end - begin
        slab = self._sums[:, :, :count] / self._norm[:count]
        for sums in (self._sums[0], self._norm[None]):
            kept = sums.shape[1] - count
            sums[:, :kept] = sums[:, count:].clone()
            sums[:, kept:] = 0
        return begin, slab


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Return the positions of tiles along one axis; the last tile ends with the volume.

    Args:
        side: Size of the volume.
        tile: Size of a tile, at most that of the volume.
        overlap: Elements that neighboring tiles share, fewer than a tile has.
    """
    count = 1 + -(-(side - tile) // (tile - overlap))
    return [min(i * (tile - overlap), side - tile) for i in range(count)]


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def importance_weights(
    tile: Triple, result: Triple, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Return the weights of the result of a tile: a Gaussian around the center.

    They are defined on the input. Where the result has other sides, each of its elements has the
    weight of the nearest one of the input, like in MONAI.

    Args:
        tile: Sides of a tile of the input.
        result: Sides of its result.
        dtype: Type of the weights.
        device: Device of the weights.
    """
    weights = torch.ones(1)
    for side in tile:
        x = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weights = weights[..., None] * torch.exp(-0.5 * (x / (_SIGMA * side)) ** 2)
    weights = weights.clamp(min=max(_LEAST_WEIGHT, float(weights.min())))
    if result != tile:
        weights = functional.interpolate(weights[None], result, mode="nearest-exact")[0]
    return weights[0].to(device, dtype)
