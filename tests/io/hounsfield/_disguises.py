"""Volumes in HU as tools make them, and the ways in which they are stored that are no HU."""

import numpy as np
from scipy import ndimage

WINDOW = (-160, 240)


def crop(volume, rng, low=16, high=64):
    """A random box."""
    sides = [min(int(rng.integers(low, high + 1)), n) for n in volume.shape]
    corner = [
        int(rng.integers(0, n - side + 1)) for n, side in zip(volume.shape, sides, strict=True)
    ]
    box = tuple(slice(c, c + side) for c, side in zip(corner, sides, strict=True))
    return np.asfortranarray(volume[box])


def outside(shape):
    """The corners of each slice outside a circle."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return np.hypot(x, y) > 1


def centre(shape):
    return tuple(slice(n // 2 - max(1, n // 10), n // 2 + max(1, n // 10)) for n in shape)


def _metal(hu):
    voxels = hu.astype(np.float32)
    voxels[centre(hu.shape)] = np.random.default_rng(0).normal(15000, 2000, hu.shape)[
        centre(hu.shape)
    ]
    voxels[:, hu.shape[1] // 2] -= 350
    return voxels.round()


def _contrast(hu):
    voxels = hu.copy()
    voxels[centre(hu.shape)] += 300
    return voxels


def _noisy(hu):
    return (hu + np.random.default_rng(0).normal(0, 60, hu.shape)).round()


def _blocks(hu):
    a, b, c = (n // 2 for n in hu.shape)
    return hu[: 2 * a, : 2 * b, : 2 * c].reshape(a, 2, b, 2, c, 2).mean((1, 3, 5))


# In HU, whatever was done to them.
TREATMENTS = {
    "plain": lambda hu: hu,
    "clipped -200..300": lambda hu: hu.clip(-200, 300),
    "clipped -160..240": lambda hu: hu.clip(*WINDOW),
    "clipped -1000..1000": lambda hu: hu.clip(-1000, 1000),
    "clipped -1000..400": lambda hu: hu.clip(-1000, 400),
    "cubic, finer": lambda hu: ndimage.zoom(hu.astype(np.float32), 1.3, order=3),
    "linear, coarser": lambda hu: ndimage.zoom(hu.astype(np.float32), 0.6, order=1),
    "averaged": _blocks,
    "noisy": _noisy,
    "sharpened": lambda hu: (
        (2 * hu.astype(np.float32) - ndimage.gaussian_filter(hu.astype(np.float32), 0.8))
        .clip(-1024, 3071)
        .round()
    ),
    "metal": _metal,
    "contrast": _contrast,
    "padded -2000": lambda hu: np.where(outside(hu.shape), -2000, hu),
    "padded -1024": lambda hu: np.where(outside(hu.shape), -1024, hu),
    "even values": lambda hu: hu // 2 * 2,
}


def _zscore(hu):
    hu = hu.astype(np.float32)
    return (hu - hu.mean()) / hu.std()


def _percentiles(hu):
    low, high = np.percentile(hu, [0.5, 99.5])
    return (hu - low) / max(high - low, 1)


def _gray(hu, low, high):
    return ((hu.clip(low, high).astype(np.float64) - low) / (high - low) * 255).round()


def _cubic(values):
    return ndimage.zoom(values.astype(np.float32), 1.3, order=3)


# Not in HU: refused in any crop with both air and tissue.
DISGUISES = {
    "HU / 1000": lambda hu: hu / 1000,
    "0..1": lambda hu: (hu.clip(-1000, 1000) + 1000) / 2000,
    "0..1, not clipped": lambda hu: (hu + 1000) / 2000,
    "0..1 of a window, not clipped": lambda hu: (hu + 160) / 400,
    "0..1, resampled": lambda hu: _cubic((hu.clip(-1000, 1000) + 1000) / 2000),
    "-1..1": lambda hu: hu.clip(-1000, 1000) / 1000,
    "-1..1 of a window, not clipped": lambda hu: (hu + 175) / 425 * 2 - 1,
    "-1..1, resampled": lambda hu: _cubic(hu.clip(-1000, 1000) / 1000),
    "z-score": _zscore,
    "z-score of nnU-Net, liver": lambda hu: (hu.clip(-17, 201) - 99.4) / 39.4,
    "z-score of nnU-Net, pancreas": lambda hu: (hu.clip(-96, 215) - 78.0) / 75.4,
    "z-score of nnU-Net, lung": lambda hu: (hu.clip(-1024, 1000) + 158.6) / 324.7,
    "percentiles": _percentiles,
    "percentiles, clipped": lambda hu: _percentiles(hu).clip(0, 1),
    "attenuation per cm": lambda hu: 0.195 * (1 + hu / 1000),
    "attenuation per m": lambda hu: (19.5 * (1 + hu / 1000)).clip(0),
    "logarithm": lambda hu: np.log((hu + 1025.0).clip(1)),
    "density": lambda hu: 1 + hu / 1000,
    "uint8": lambda hu: _gray(hu, -1000, 1000).astype(np.uint8),
    "uint8 of a window - 128": lambda hu: _gray(hu, *WINDOW) - 128,
    "uint8 of a window - 127.5": lambda hu: _gray(hu, *WINDOW) - 127.5,
    "uint8 of a window - its mean": lambda hu: _gray(hu, *WINDOW) - _gray(hu, *WINDOW).mean(),
    "uint8 - its mean": lambda hu: _gray(hu, -1000, 1000) - _gray(hu, -1000, 1000).mean(),
    "HU x 10": lambda hu: hu.astype(np.int32) * 10,
    "HU + 1024": lambda hu: (hu.astype(np.int32) + 1024).clip(0),
    "HU + 1024 with padding": lambda hu: np.where(
        outside(hu.shape), -2000, (hu.astype(np.int32) + 1024).clip(0)
    ),
    "HU + 1000, unsigned": lambda hu: (hu.astype(np.int32) + 1000).clip(0).astype(np.uint16),
    "HU + 8192": lambda hu: hu.astype(np.int32) + 8192,
}

# Not in HU either: refused for whole volumes, and for most crops.
HARDER = {
    "attenuation per m, not clipped": lambda hu: 19.5 * (1 + hu / 1000),
    "uint8 - 128": lambda hu: _gray(hu, -1000, 1000) - 128,
    "uint8 of all values - 128": lambda hu: _gray(hu, -1024, 3071) - 128,
    "uint8 of a lung window - 128": lambda hu: _gray(hu, -1350, 150) - 128,
    "uint8 - its rounded mean": lambda hu: (
        _gray(hu, -1000, 1000) - _gray(hu, -1000, 1000).mean().round()
    ),
    "z-score of nnU-Net, liver, not clipped": lambda hu: (hu - 99.4) / 39.4,
    "percentiles to 0..100": lambda hu: _percentiles(hu) * 100,
    "percentiles to 0..255": lambda hu: _percentiles(hu) * 255,
    "HU x 10, resampled": lambda hu: _cubic(hu) * 10,
    "16 bits in full": lambda hu: (hu.clip(-1000, 1000) * 32.767).round(),
    "HU + 1000": lambda hu: hu.astype(np.int32) + 1000,
    "HU - 1024": lambda hu: hu.astype(np.int32) - 1024,
}
