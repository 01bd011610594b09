"""Uniform soft tissue regions, for noise measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.masks import BoolArray, Mask
from ct_vae.volume import Volume

FloatArray = NDArray[np.float64]

SOFT_TISSUE_HU = (-30.0, 150.0)
_SIDE_MM = 15.0
_SIDE_LIMITS = (8, 32)
# More slices take more time and hardly increase the precision.
_MAX_SLICES = 64
# Maximum standard deviation of a region relative to the mode.
_STRUCTURE = 1.25


@dataclass(frozen=True, eq=False)
class FlatRegions:
    """Square regions in axial slices, all of the same size.

    Attributes:
        places: ``(N, 3)`` RAS indices of their first voxels.
        side: Size in voxels along x and y.
        spacing_mm: Voxel spacing along x and y.
    """

    places: NDArray[np.intp]
    side: int
    spacing_mm: tuple[float, float]

    def cut(self, volume: Volume) -> FloatArray:
        """Return the detrended regions ``(N, side, side)`` of a volume on the same grid."""
        voxels = volume.grid.reorient_array(volume.voxels, "RAS")
        squares = [
            voxels[x : x + self.side, y : y + self.side, z] for x, y, z in self.places.tolist()
        ]
        stacked = np.array(squares, dtype=np.float64).reshape(-1, self.side, self.side)
        return detrended(stacked)


def find_flat_regions(volume: Volume, body: Mask) -> FlatRegions:
    """Find uniform soft tissue regions, in which the variation is mainly noise.

    The method follows automatic noise measurement in patients (Christianson et al. 2015, "Automated
    technique to measure noise in clinical CT examinations", AJR 205). Candidates are squares of
    about 15 mm (8 to 32 voxels), overlapping by half, in at most 64 evenly spaced axial slices.
    They must be inside the body, with means of their four quarters in [-30, 150] HU. The noise is
    the mode of their standard deviations about a second-order trend. Candidates up to 25 % above
    the mode are uniform; vessels, edges and fat have larger deviations. Of overlapping regions, the
    one with the smallest deviation is kept. The method is deterministic.

    Args:
        volume: Original volume; reconstructions are measured in the same regions.
        body: Body mask on the grid of the volume.
    """
    voxels = volume.grid.reorient_array(volume.voxels, "RAS")
    inside = volume.grid.reorient_array(body.voxels, "RAS").astype(np.bool_, copy=False)
    across, deep, _ = volume.grid.reorient("RAS").spacing_mm
    side = int(np.clip(round(_SIDE_MM / np.sqrt(across * deep)), *_SIDE_LIMITS))
    found = list(_candidates(voxels, inside, side))
    places = np.concatenate([np.empty((0, 3), np.intp), *(p for p, _ in found)])
    spread = np.concatenate([np.empty(0), *(s for _, s in found)])
    if spread.size:
        flat = spread <= _STRUCTURE * _mode(spread)
        places, spread = places[flat], spread[flat]
    return FlatRegions(_apart(places, spread, side), side, (across, deep))


def detrended(squares: FloatArray) -> FloatArray:
    """Subtract the best-fitting second-order polynomial from each of ``(N, n, n)`` (TG-233)."""
    basis = _trend(squares.shape[-1])
    flat = squares.reshape(len(squares), squares.shape[-1] ** 2)
    return (flat - flat @ basis @ basis.T).reshape(squares.shape)


def _trend(side: int) -> FloatArray:
    """Return an orthonormal basis ``(side * side, 6)`` of second-order polynomials."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    terms = [np.ones_like(x), x, y, x * x, x * y, y * y]
    basis: FloatArray = np.linalg.qr(np.stack([t.ravel() for t in terms], axis=1))[0]
    return basis


def _candidates(
    voxels: NDArray[np.generic], inside: BoolArray, side: int
) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
    """Return positions ``(N, 3)`` and standard deviations ``(N,)`` of the candidates in a slice."""
    slices = np.flatnonzero(inside.any(axis=(0, 1)))
    if len(slices) > _MAX_SLICES:
        slices = slices[np.linspace(0, len(slices) - 1, _MAX_SLICES).round().astype(int)]
    if min(voxels.shape[:2]) < side:
        return
    for z in slices.tolist():
        corners = np.argwhere(_squares(inside[..., z], side).all(axis=(2, 3)))
        squares = _squares(voxels[..., z], side)[*corners.T].astype(np.float64)
        soft = _soft(squares)
        rest = detrended(squares[soft])
        starts = corners[soft] * _step(side)
        places = np.column_stack([starts, np.full(len(starts), z)])
        yield places, np.sqrt((rest**2).sum(axis=(1, 2)) / (side**2 - 6))


def _step(side: int) -> int:
    """Return half the size, rounded up, so that every second square does not overlap."""
    return (side + 1) // 2


def _squares(plane: NDArray[np.generic], side: int) -> NDArray[np.generic]:
    windows = np.lib.stride_tricks.sliding_window_view(plane, (side, side))
    return windows[:: _step(side), :: _step(side)]


def _soft(squares: FloatArray) -> BoolArray:
    """Return True where the means of all four quarters are in the range of soft tissue."""
    half = squares.shape[-1] // 2
    low, high = SOFT_TISSUE_HU
    ends = slice(None, half), slice(half, None)
    means = np.stack([squares[:, a, b].mean(axis=(1, 2)) for a in ends for b in ends], axis=1)
    soft: BoolArray = np.all((means >= low) & (means <= high), axis=1)
    return soft


def _mode(values: FloatArray) -> float:
    """Estimate the mode by repeated shortest intervals with half of the values.

    Half-sample mode of Robertson and Cryer 1974, "An iterative procedure for estimating the mode".
    """
    ordered = np.sort(values)
    while ordered.size > 3:
        half = (ordered.size + 1) // 2
        start = int(np.argmin(ordered[half - 1 :] - ordered[: ordered.size - half + 1]))
        ordered = ordered[start : start + half]
    return float(ordered.mean())


def _apart(places: NDArray[np.intp], spread: FloatArray, side: int) -> NDArray[np.intp]:
    """Select the squares with the smallest spread among overlapping ones, ordered by position."""
    taken: set[tuple[int, int, int]] = set()
    kept = []
    step = _step(side)
    for n in np.lexsort((*places.T[::-1], spread)).tolist():
        x, y, z = places[n].tolist()
        i, j = x // step, y // step
        near = [(i + a, j + b, z) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        if not any(place in taken for place in near):
            taken.add((i, j, z))
            kept.append(n)
    chosen: NDArray[np.intp] = places[sorted(kept)]
    return chosen
