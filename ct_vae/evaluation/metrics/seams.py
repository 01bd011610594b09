"""Visibility of tile borders: errors near borders compared with errors elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.latent import LatentRecord, TilingRecord

# Borders along each axis; border 5 is between voxels 4 and 5.
Borders = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Seams:
    """Errors near borders and elsewhere.

    Attributes:
        near: RMSE of the voxels near a border, in HU; ``None`` if there are none.
        elsewhere: RMSE of the others, in HU; ``None`` if there are none.
        distance: Number of voxels on either side of a border that count as near.
        share: Fraction of voxels near a border.
    """

    near: float | None
    elsewhere: float | None
    distance: int
    share: float

    @property
    def ratio(self) -> float | None:
        """Ratio of ``near`` to ``elsewhere``; 1 means no visible seams. ``None`` if undefined."""
        if self.near is None or not self.elsewhere:
            return None
        return self.near / self.elsewhere


@dataclass(frozen=True)
class Difference:
    """Difference of two reconstructions of a volume.

    Attributes:
        relative: 2-norm of the difference divided by that of the second reconstruction.
        max_hu: Maximum absolute difference in HU.
    """

    relative: float
    max_hu: float


def measure_seams(
    reference: NDArray[Any],
    reconstruction: NDArray[Any],
    borders: Borders,
    distance: int = 2,
    mask: NDArray[np.bool_] | None = None,
) -> Seams:
    """Compare errors near tile borders with errors elsewhere.

    Args:
        reference: Original ``(X, Y, Z)`` in HU.
        reconstruction: Reconstruction of the same shape in HU.
        borders: Tile borders along each axis, see `borders_of`.
        distance: Number of voxels on either side of a border that count as near.
        mask: Voxels to include, such as the body; ``None`` means all.
    """
    squares = np.square(np.asarray(reconstruction, np.float64) - reference)
    near = _near(reference.shape, borders, distance)
    counted = np.ones_like(near) if mask is None else mask
    total = int(counted.sum())
    return Seams(
        _root_mean(squares[near & counted]),
        _root_mean(squares[~near & counted]),
        distance,
        int((near & counted).sum()) / total if total else 0.0,
    )


def borders_of(record: LatentRecord, *further: TilingRecord) -> Borders:
    """Return the tile borders of a latent in voxels of its source.

    Blended tiles have borders along every axis. Exact slabs have borders along the first axis of
    the oriented volume, where results equal those of the whole volume. Whole volumes have none.

    Args:
        record: Record of the latent, with the tiling of encoding.
        further: Tilings of decoding.
    """
    padded, source = record.padded_grid(), record.source.grid.grid()
    to_source = np.linalg.inv(source.affine) @ padded.affine
    found: list[set[int]] = [set(), set(), set()]
    for tiling in (record.tiling, *further):
        for axis, places in enumerate(_places(tiling, padded.shape, record.factor)):
            along = int(np.abs(to_source[:3, axis]).argmax())
            for place in places:
                # A border is half a voxel before the center of the next voxel.
                point = np.array([*(np.array(padded.shape) - 1) / 2, 1.0])
                point[axis] = place - 0.5
                found[along].add(round(float(to_source[along] @ point) + 0.5))
    x, y, z = (
        tuple(sorted(b for b in each if 0 < b < side))
        for each, side in zip(found, source.shape, strict=True)
    )
    return x, y, z


def difference(first: NDArray[Any], second: NDArray[Any]) -> Difference:
    """Compute the difference of two reconstructions ``(X, Y, Z)`` in HU."""
    apart = np.asarray(first, np.float64) - second
    norm = float(np.linalg.norm(np.asarray(second, np.float64)))
    size = float(np.linalg.norm(apart))
    relative = size / norm if norm else float(size > 0)
    return Difference(relative, float(np.abs(apart).max()))


def differences(
    reconstructions: Mapping[str, NDArray[Any]],
) -> dict[tuple[str, str], Difference]:
    """Compute the difference of each pair of methods, such as ``("exact", "whole")``."""
    return {
        (a, b): difference(reconstructions[a], reconstructions[b])
        for a, b in combinations(reconstructions, 2)
    }


def _places(
    tiling: TilingRecord, sides: Sequence[int], factor: Sequence[int]
) -> tuple[set[int], set[int], set[int]]:
    """Return the borders in the padded volume."""
    if tiling.tile is not None and tiling.overlap is not None:
        x, y, z = (
            {edge for start in _starts(n, t, t - o) for edge in (start, start + t)} - {0, n}
            for n, t, o in zip(sides, tiling.tile, tiling.overlap, strict=True)
        )
        return x, y, z
    step = (tiling.slab or 0) * factor[0]
    return set(range(step, sides[0], step)) if step else set(), set(), set()


def _starts(side: int, tile: int, step: int) -> list[int]:
    """Return the starts of MONAI's sliding windows; the last window ends with the volume."""
    count = max(0, -(-(side - tile) // step)) + 1
    return [min(i * step, side - tile) for i in range(count)]


def _near(shape: Sequence[int], borders: Borders, distance: int) -> NDArray[np.bool_]:
    near = np.zeros(shape, dtype=bool)
    for axis, places in enumerate(borders):
        by_axis = np.moveaxis(near, axis, 0)
        for place in places:
            by_axis[max(0, place - distance) : place + distance] = True
    return near


def _root_mean(squares: NDArray[np.float64]) -> float | None:
    return float(np.sqrt(squares.mean())) if squares.size else None
