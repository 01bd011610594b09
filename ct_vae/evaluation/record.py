"""Record of an evaluation: all settings that its results depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ct_vae.evaluation.measure import Plan
from ct_vae.evaluation.metrics import median_interval
from ct_vae.evaluation.metrics.bland_altman import REGION_MM
from ct_vae.evaluation.metrics.error_tally import FLOAT_BIN_HU
from ct_vae.evaluation.metrics.similarity import ms_ssim, ssim
from ct_vae.evaluation.metrics.tissue_bands import TISSUE_BANDS
from ct_vae.evaluation.windows import Window
from ct_vae.io import volume_sha256
from ct_vae.io.atomic.file import sha256_file
from ct_vae.version import __version__
from ct_vae.volume import Volume

_PACKAGES = ("numpy", "scipy", "torch", "monai", "nibabel")
_MASKS = {
    "body": "above -500 HU, opened by 2.5 mm, largest component, holes filled slice by slice",
    "field_of_view": "field of view of the scanner",
    "in_window": "voxels of the first mask whose original value is in the window; unclipped",
    "all": "every voxel",
}


def plan_record(plan: Plan, masks: Sequence[str], about: str) -> dict[str, Any]:
    """Return the metrics and their settings for JSON.

    Args:
        plan: Metrics to compute.
        masks: Names of the masks.
        about: Description of the published protocol; empty if none is used.
    """
    return {
        "follows": about or "windows and masks of this package",
        "versions": {"ct_vae": __version__}
        | {name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        "windows": [_window(window) for window in plan.windows],
        "similarity_windows": [window.name for window in plan.similar_in],
        "masks": {name: _MASKS.get(name, "given in a file") for name in masks},
        "metrics": list(plan.metrics),
        "constants": _constants(plan),
    }


def case_record(original: Volume, reconstruction: Volume) -> dict[str, Any]:
    """Return digests of both volumes, and shape, spacing and warnings of the original."""
    return {
        "original_sha256": volume_sha256(original),
        "reconstruction_sha256": volume_sha256(reconstruction),
        "shape": list(original.grid.shape),
        "spacing_mm": [round(s, 6) for s in original.grid.spacing_mm],
        "warnings": list(original.warnings),
    }


def _window(window: Window) -> Mapping[str, Any]:
    return {
        "name": window.name,
        "width": window.width,
        "level": window.level,
        "low": window.low,
        "high": window.high,
    }


def _constants(plan: Plan) -> dict[str, Any]:
    constants: dict[str, Any] = {
        "clipping": "both volumes to the window, except in the mask in_window",
        "psnr": "20 log10(width of the window / RMSE)",
        "float_percentiles_bin_hu": FLOAT_BIN_HU,
        "ssim": {
            "sigma_voxels": ssim.SIGMA,
            "radius_voxels": ssim.RADIUS,
            "k1": ssim.K1,
            "k2": ssim.K2,
            "border": "mirrored",
            "arithmetic": "float64",
        },
        "median_interval": {
            "method": median_interval.METHOD,
            "least_coverage": median_interval.LEVEL,
            "least_patients": median_interval.LEAST_PATIENTS,
        },
    }
    if "ms_ssim" in plan.metrics:
        constants["ms_ssim"] = {
            "weights": list(ms_ssim.WEIGHTS),
            "luminance_everywhere": plan.luminance_everywhere,
        }
    if "regions" in plan.metrics:
        constants["regions_mm"] = REGION_MM
    if "tissue_bands" in plan.metrics:
        constants["tissue_bands"] = [_window(band) for band in TISSUE_BANDS]
    if plan.lpips_weights is not None:
        constants["lpips"] = {
            "network": "VGG-16, axial slices, all voxels, first window from black to white",
            "weights_sha256": sha256_file(plan.lpips_weights),
        }
    if plan.rate_distortion:
        constants["rate_distortion"] = {
            "latent_steps": "standard deviation of the rounding error over that of the posterior",
            "latent_and_klt_size": "range coder and record; the transform of the KLT not counted",
            "jpeg2000": "slice by slice, 9/7 wavelet, equal quality, one header per volume",
            "sperr": "three-dimensional, at a given rate",
            "hevc": "x265 medium, Main 12, constant quantizer, HU clipped to [-1024, 3071]",
            "bd_rate": "percent at equal RMSE in dB, PCHIP; negative means fewer bits",
        }
    return constants
