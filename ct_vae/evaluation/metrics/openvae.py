"""Scores of the OpenVAE benchmark: MAE and detail on a scale to 100, and uniform SSIM."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.evaluation.metrics.gradient_error import gradient_magnitude
from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair
from ct_vae.evaluation.metrics.similarity.ssim import K1, K2
from ct_vae.evaluation.windows import Window

# Side of the cube in voxels over which means and covariances are computed.
_SIDE = 7
_VOXELS_MM = (1.0, 1.0, 1.0)

FloatArray = NDArray[np.float64]


def openvae_scores(
    pair: Pair, window: Window, *, slab_voxels: int = SLAB_VOXELS
) -> dict[str, float | None]:
    """Compute the scores of the OpenVAE benchmark over all voxels, clipped to a window.

    Args:
        pair: Original and reconstruction.
        window: Window whose width is the data range, [-1000, 1000] HU in the benchmark.
        slab_voxels: Voxels converted to float64 at once; affects memory, not results.

    Returns:
        ``mae_100``: 100 times one minus the mean absolute error as a fraction of the window;
        ``detail_100``: 100 times the correlation of gradient magnitudes in voxel units, at least 0
        and ``None`` if one of them is constant; ``ssim_uniform``: SSIM with the mean, and the
        variance of samples, of cubes of 7 voxels (Wang et al. 2004, as in scikit-image), ``None``
        for volumes with fewer voxels along an axis.
    """
    gradients = np.zeros(6)
    apart = similar = 0.0
    for part in pair.slabs(slab_voxels // 2):
        steep = [gradient_magnitude(image, part, window, _VOXELS_MM) for image in pair.images]
        gradients += _moments(*steep)
        slab = [
            image[part].astype(np.float64).clip(window.low, window.high) for image in pair.images
        ]
        apart += float(np.abs(slab[1] - slab[0]).sum())
        similar += _similarity_sum(pair, part, window)
    size = pair.reference.voxels.size
    inner = int(np.prod([n - _SIDE + 1 for n in pair.reference.grid.shape]))
    whole = min(pair.reference.grid.shape) >= _SIDE
    correlation = _correlation(gradients)
    return {
        "mae_100": 100 * (1 - apart / size / window.width),
        "detail_100": None if correlation is None else 100 * max(correlation, 0.0),
        "ssim_uniform": similar / inner if whole else None,
    }


def _moments(a: FloatArray, b: FloatArray) -> FloatArray:
    # Magnitudes are divided by 1000 so that their squares keep their digits in the sums.
    a, b = a.ravel() / 1000, b.ravel() / 1000
    return np.array([a.size, a.sum(), b.sum(), a @ a, b @ b, a @ b])


def _correlation(moments: FloatArray) -> float | None:
    n, a, b, aa, bb, ab = moments.tolist()
    spread = (aa - a * a / n) * (bb - b * b / n)
    return (ab - a * b / n) / float(np.sqrt(spread)) if spread > 1e-18 else None


def _similarity_sum(pair: Pair, part: slice, window: Window) -> float:
    """Return the sum of the SSIM map over the centers of whole cubes in a slab."""
    half = _SIDE // 2
    slices = pair.images[0].shape[0]
    first, last = max(part.start, half), min(part.stop, slices - half)
    if first >= last or min(pair.images[0].shape) < _SIDE:
        return 0.0
    around = slice(first - half, last + half)
    a, b = (_centered(image[around], window) for image in pair.images)
    means = [_cube_mean(x) for x in (a, b)]
    bias = _SIDE**3 / (_SIDE**3 - 1)
    variances = [bias * (_cube_mean(x * x) - m * m) for x, m in zip((a, b), means, strict=True)]
    covariance = bias * (_cube_mean(a * b) - means[0] * means[1])
    c1, c2 = (K1 * window.width) ** 2, (K2 * window.width) ** 2
    # The luminance depends on the distance from the lower end of the window.
    u, v = (m + window.width / 2 for m in means)
    map_ = (2 * u * v + c1) * (2 * covariance + c2)
    map_ /= (u * u + v * v + c1) * (variances[0] + variances[1] + c2)
    return float(map_.sum())


def _centered(image: NDArray[Any], window: Window) -> FloatArray:
    # Around the middle of the window, squares lose fewer digits.
    centered: FloatArray = image.astype(np.float64).clip(window.low, window.high) - window.level
    return centered


def _cube_mean(values: FloatArray) -> FloatArray:
    half = _SIDE // 2
    inner = slice(half, -half)
    mean: FloatArray = ndimage.uniform_filter(values, _SIDE)[inner, inner, inner]
    return mean
