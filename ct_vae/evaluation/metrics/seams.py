"""Whether a reconstruction shows where it was cut: errors near the borders of tiles and not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.latent import LatentRecord, TilingRecord

# Per axis, places between voxels: place 5 lies between voxels 4 and 5.
Borders = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Seams:
    """Errors near borders and elsewhere.

    Attributes:
        near: RMSE of the voxels near a border, in HU; ``None`` if there are none.
        elsewhere: RMSE of the others, in HU; ``None`` if there are none.
        distance: How many voxels on either side of a border are near it.
        share: Of the voxels, those near a border.
    """

    near: float | None
    elsewhere: float | None
    distance: int
    share: float

    @property
    def ratio(self) -> float | None:
        """``near`` over ``elsewhere``, 1 where no seam shows; ``None`` if one of them lacks."""
        if self.near is None or not self.elsewhere:
            return None
        return self.near / self.elsewhere


@dataclass(frozen=True)
class Difference:
    """How far two reconstructions of one volume are apart.

    Attributes:
        relative: 2-norm of the difference over that of the second one.
        max_hu: Largest difference of a voxel.
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
    """Compare the errors near borders with those elsewhere.

    Args:
        reference: ``(X, Y, Z)`` in HU.
        reconstruction: Of the same shape, in HU.
        borders: In these voxels, see `borders_of`.
        distance: How many voxels on either side of a border are near it.
        mask: Which voxels count, such as the body; ``None`` takes all.
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
    """Where tiles of a latent's source begin and end, in voxels of the source.

    Blended tiles have borders on every axis. Exact slabs have them along the first axis of the
    oriented volume, one every so many latent slices as the thinnest slab has; results there are
    those of the whole. A whole volume has none.

    Args:
        record: Of the latent; its own tiling counts.
        further: How it was decoded.
    """
    padded, source = record.padded_grid(), record.source.grid.grid()
    to_source = np.linalg.inv(source.affine) @ padded.affine
    found: list[set[int]] = [set(), set(), set()]
    for tiling in (record.tiling, *further):
        for axis, places in enumerate(_places(tiling, padded.shape, record.factor)):
            along = int(np.abs(to_source[:3, axis]).argmax())
            for place in places:
                # A place between two voxels lies half a voxel before the centre of the second.
                point = np.array([*(np.array(padded.shape) - 1) / 2, 1.0])
                point[axis] = place - 0.5
                found[along].add(round(float(to_source[along] @ point) + 0.5))
    x, y, z = (
        tuple(sorted(b for b in each if 0 < b < side))
        for each, side in zip(found, source.shape, strict=True)
    )
    return x, y, z


def difference(first: NDArray[Any], second: NDArray[Any]) -> Difference:
    """How far a reconstruction is from another, both ``(X, Y, Z)`` in HU."""
    apart = np.asarray(first, np.float64) - second
    norm = float(np.linalg.norm(np.asarray(second, np.float64)))
    size = float(np.linalg.norm(apart))
    relative = size / norm if norm else float(size > 0)
    return Difference(relative, float(np.abs(apart).max()))


def differences(
    reconstructions: Mapping[str, NDArray[Any]],
) -> dict[tuple[str, str], Difference]:
    """Between every two methods by name, such as ``("exact", "whole")``."""
    return {
        (a, b): difference(reconstructions[a], reconstructions[b])
        for a, b in combinations(reconstructions, 2)
    }


def _places(
    tiling: TilingRecord, sides: Sequence[int], factor: Sequence[int]
) -> tuple[set[int], set[int], set[int]]:
    """Borders in the padded volume."""
    if tiling.tile is not None and tiling.overlap is not None:
        x, y, z = (
            {edge for start in _starts(n, t, t - o) for edge in (start, start + t)} - {0, n}
            for n, t, o in zip(sides, tiling.tile, tiling.overlap, strict=True)
        )
        return x, y, z
    step = (tiling.slab or 0) * factor[0]
    return set(range(step, sides[0], step)) if step else set(), set(), set()


def _starts(side: int, tile: int, step: int) -> list[int]:
    """Where windows begin as MONAI places them: the last is moved back to end with the volume."""
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
