"""Phantom CTs: seeded analytic patients with known Hounsfield units, for training and tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import ndimage

from ct_vae.errors import ConfigError
from ct_vae.grid import Grid, Triple
from ct_vae.phantoms.abdomen import abdomen
from ct_vae.phantoms.head import head
from ct_vae.phantoms.scene import Scene, render
from ct_vae.phantoms.shapes import Array
from ct_vae.phantoms.thorax import thorax
from ct_vae.volume import Volume

_SCENES: dict[str, Callable[[np.random.Generator], Scene]] = {
    "thorax": thorax,
    "abdomen": abdomen,
    "head": head,
}
PHANTOM_ANATOMIES = tuple(_SCENES)

# Full width at half maximum of a sharp body kernel, 2.3548 standard deviations of a Gaussian.
_PSF_FWHM_MM = 1.5
_NOISE_SIGMA_MM = 1.0
_HU_RANGE = (-1024, 3071)


def make_phantom(
    anatomy: str,
    seed: int,
    spacing_mm: float | tuple[float, float, float] = 2.0,
    shape: Triple | None = None,
    noise_hu: float = 20.0,
) -> Volume:
    """Simulate a CT scan of an analytic patient.

    The patient depends only on anatomy and seed, so different spacings show the same patient; the
    noise also depends on spacing and shape. Voxels are averages over their volume, blurred by a
    Gaussian point-spread function of 1.5 mm full width at half maximum.

    Args:
        anatomy: One of `PHANTOM_ANATOMIES`.
        seed: Non-negative seed, which determines sizes, positions, HU, pose and findings.
        spacing_mm: Voxel size in mm, one number or one for each axis; defaults to 2.
        shape: Number of voxels along each axis; defaults to the size of the anatomy.
        noise_hu: Standard deviation in HU of the noise, low-pass filtered white Gaussian noise;
            defaults to 20.

    Returns:
        Volume of int16 HU in [-1024, 3071] on an RAS grid.

    Raises:
        ConfigError: If an argument is out of range.
    """
    spacing = _checked(anatomy, seed, spacing_mm, shape, noise_hu)
    kind = PHANTOM_ANATOMIES.index(anatomy)
    scene = _SCENES[anatomy](_generator(kind, seed))
    shape = shape or _full_shape(scene.size_mm, spacing)
    picture = render(scene, shape, spacing)
    sigma = [_PSF_FWHM_MM / 2.3548 / s for s in spacing]
    picture = ndimage.gaussian_filter(picture, sigma, mode="nearest")
    if noise_hu:
        micrometers = [round(s * 1000) for s in spacing]
        rng = _generator(kind, seed, *micrometers, *shape)
        picture += np.float32(noise_hu) * _noise(rng, shape, spacing)
    voxels = np.rint(picture.clip(*_HU_RANGE)).astype(np.int16)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = scene.pose.center_mm - (np.asarray(shape) - 1) / 2 * spacing
    return Volume(voxels, Grid(shape, affine), source={"format": "phantom", "dtype": "int16"})


def phantom_shape(anatomy: str, spacing_mm: tuple[float, float, float]) -> Triple:
    """Return the shape of a phantom that shows its whole anatomy, without generating it.

    Args:
        anatomy: One of `PHANTOM_ANATOMIES`.
        spacing_mm: Voxel size along each axis in mm.
    """
    return _full_shape(_size_mm(anatomy), spacing_mm)


@cache
def _size_mm(anatomy: str) -> tuple[float, float, float]:
    """Return the field of view of an anatomy in mm, which is independent of the seed."""
    return _SCENES[anatomy](np.random.default_rng(0)).size_mm


def _full_shape(
    size_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float]
) -> Triple:
    x, y, z = (max(1, round(mm / s)) for mm, s in zip(size_mm, spacing_mm, strict=True))
    return x, y, z


def _checked(
    anatomy: str,
    seed: int,
    spacing_mm: float | tuple[float, float, float],
    shape: Triple | None,
    noise_hu: float,
) -> tuple[float, float, float]:
    if anatomy not in _SCENES:
        raise ConfigError(
            f"there is no phantom {anatomy!r}", f"choose one of {', '.join(PHANTOM_ANATOMIES)}"
        )
    spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3).tolist()
    if not all(0.1 <= s <= 50 for s in spacing):
        raise ConfigError(f"the spacing of a phantom is between 0.1 and 50 mm, got {spacing_mm}")
    if shape is not None and (len(shape) != 3 or min(shape) < 1):
        raise ConfigError(f"the shape of a phantom is three positive numbers, got {shape}")
    if seed < 0 or not 0 <= noise_hu < 1000:
        raise ConfigError(
            f"the seed of a phantom is not negative and its noise is in [0, 1000) HU, "
            f"got seed {seed} and {noise_hu} HU"
        )
    return spacing[0], spacing[1], spacing[2]


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _noise(rng: np.random.Generator, shape: Triple, spacing: tuple[float, float, float]) -> Array:
    """Noise of unit variance, filtered with a margin and scaled by the gain of the filter."""
    sigma = [max(_NOISE_SIGMA_MM / s, 0.4) for s in spacing]
    margin = [int(4 * s + 0.5) for s in sigma]
    white = rng.standard_normal(
        [n + 2 * m for n, m in zip(shape, margin, strict=True)], dtype=np.float32
    )
    smooth: Array = ndimage.gaussian_filter(white, sigma, mode="constant")
    inner = tuple(slice(m, m + n) for n, m in zip(shape, margin, strict=True))
    return smooth[inner] / np.float32(
        np.prod([_gain(s, m) for s, m in zip(sigma, margin, strict=True)])
    )


def _gain(sigma: float, margin: int) -> float:
    impulse = np.zeros(2 * margin + 1)
    impulse[margin] = 1
    return float(np.linalg.norm(ndimage.gaussian_filter1d(impulse, sigma, mode="constant")))
