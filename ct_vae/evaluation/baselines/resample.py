"""Baselines without a network: best constant, preprocessing alone, and cubic resampling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError
from ct_vae.grid import Triple
from ct_vae.masks import Mask, body_mask
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.preprocess.restoration import restore
from ct_vae.volume import AIR_HU, Volume

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """Reconstruction by a baseline method.

    Attributes:
        name: ``mean``, ``identity``, ``klt``, ``resample`` or ``jpeg2000``.
        volume: Reconstruction in int16 HU on the grid of the original.
        values: Number of values of the code; ``None`` if its size is given in bits.
        bits: Number of bits of the code, headers included; ``None`` if its size is in values.
    """

    name: str
    volume: Volume
    values: int | None
    bits: int | None = None


def mean_baseline(volume: Volume, body: Mask | None = None) -> Baseline:
    """Return the constant with the lowest squared error in the body: its mean HU."""
    inside = volume.voxels[(body or body_mask(volume)).voxels]
    mean = float(inside.mean(dtype=np.float64)) if inside.size else float(AIR_HU)
    return Baseline("mean", _on_grid_of(volume, np.full(volume.grid.shape, mean)), 1)


def identity_baseline(
    volume: Volume, preprocessor: Preprocessor, factor: Sequence[int]
) -> Baseline:
    """Apply the preprocessing of a model and invert it, as with a perfect network.

    The remaining error is the limit for any training: clipping to the HU range of the model,
    resampling, if any, and rounding to whole HU.

    Args:
        volume: Original volume.
        preprocessor: Preprocessing of the model.
        factor: Downsampling factor of the model along each axis.
    """
    prepared = preprocessor(volume, factor)
    back = restore(prepared.tensor[0, 0].float(), prepared.record, volume.grid)
    voxels = np.rint(back.voxels).astype(np.int16)
    return Baseline("identity", Volume(voxels, volume.grid, volume.outside_fov), volume.voxels.size)


def resample_baseline(volume: Volume, values: int) -> Baseline:
    """Downsample a volume to a number of values and upsample it, by cubic splines.

    The coarse grid points are at block centers. Their values are the least-squares fit of the
    cubic interpolation to the original (Unser, Aldroubi and Eden 1995, "Enlargement or reduction of
    digital images with minimum loss of information"). No other filter before the same interpolation
    has a lower RMSE over the volume, up to rounding to whole HU.

    Args:
        volume: Original volume.
        values: Maximum number of values, such as that of a latent.

    Raises:
        ConfigError: If ``values`` is less than 1.
    """
    sides = coarse_sides(volume.grid.shape, values)
    fine = volume.voxels.astype(np.float32)
    for axis, side in enumerate(sides):
        basis = _cubic_basis(fine.shape[axis], side)
        fine = _along(np.asarray(np.linalg.pinv(basis), dtype=np.float64), fine, axis)
    for axis, n in enumerate(volume.grid.shape):
        fine = _along(_cubic_basis(n, sides[axis]), fine, axis)
    low, high = int(volume.voxels.min()), int(volume.voxels.max())
    return Baseline("resample", _on_grid_of(volume, fine.clip(low, high)), math.prod(sides))


def coarse_sides(shape: Triple, values: int) -> Triple:
    """Return the coarse size with at most ``values`` voxels and similar factors per axis.

    Raises:
        ConfigError: If ``values`` is less than 1.
    """
    if values < 1:
        raise ConfigError(f"a volume cannot be described by {values} values", "give at least 1")
    low, high = 1.0, float(max(shape))
    for _ in range(60):
        step = math.sqrt(low * high)
        low, high = (step, high) if math.prod(_sides(shape, step)) > values else (low, step)
    floors = [max(1, math.floor(side + 1e-9)) for side in _sides(shape, high)]
    choices = itertools.product(
        *[range(max(1, f - 1), min(f + 2, n) + 1) for f, n in zip(floors, shape, strict=True)]
    )
    best = max(
        (c for c in choices if math.prod(c) <= values),
        key=lambda c: (math.prod(c), -_unevenness(c, shape)),
    )
    return best[0], best[1], best[2]


def _sides(shape: Triple, step: float) -> list[float]:
    return [max(1.0, n / step) for n in shape]


def _unevenness(sides: tuple[int, ...], shape: Triple) -> float:
    shares = [s / n for s, n in zip(sides, shape, strict=True)]
    return max(shares) / min(shares)


def _cubic_basis(n: int, side: int) -> FloatArray:
    """Return cubic B-splines at ``side`` block centers, sampled at ``n`` points, with mirroring."""
    if side == n:
        return np.eye(n)
    centers = (np.arange(n) + 0.5) * side / n - 0.5
    basis = np.zeros((n, side))
    for k in range(-2, side + 2):
        # Half-sample symmetry: -1 is the mirror image of 0, `side` that of `side - 1`.
        column = k % (2 * side)
        basis[:, min(column, 2 * side - 1 - column)] += _bspline(np.abs(centers - k))
    return basis


def _bspline(distance: FloatArray) -> FloatArray:
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far)


def _along(matrix: FloatArray, array: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    moved = np.tensordot(matrix.astype(np.float32), array, axes=(1, axis))
    return np.moveaxis(moved, 0, axis)


def _on_grid_of(volume: Volume, hu: NDArray[np.floating]) -> Volume:
    limits = np.iinfo(np.int16)
    voxels = np.rint(hu).clip(limits.min, limits.max).astype(np.int16)
    if volume.outside_fov is not None:
        voxels[volume.outside_fov] = AIR_HU
    return Volume(voxels, volume.grid, volume.outside_fov)
