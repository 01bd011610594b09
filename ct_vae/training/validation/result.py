"""Results of a validation: errors in HU, slices for images, and statistics of the latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.metrics.metric_rows import DEFAULT_WINDOWS, evaluate_pair
from ct_vae.evaluation.metrics.similarity.ssim import axial_ssim
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.masks import Mask
from ct_vae.training.reporting.validation_picture import CasePicture
from ct_vae.volume import Volume

# Burda et al. 2016, section 5.2: a unit is active when its mean has a variance above 0.01.
_ACTIVE_STD = 0.1


@dataclass(frozen=True, eq=False)
class ValidationResult:
    """Result of one case, a volume or a patch; it is small and can be pickled.

    Attributes:
        values: Errors by metric and window, as returned by `errors_in_hu`: inside the body of a
            volume, over all voxels of a patch.
        picture: Slices of original and reconstruction; ``None`` if not requested.
        code_counts: ``(codebook_size,)`` int64 counts of the codes in the same region; ``None``
            without codes.
        moments: Moments of the latent's channels in the same region; ``None`` with codes.
    """

    values: dict[str, float]
    picture: CasePicture | None
    code_counts: NDArray[np.int64] | None
    moments: LatentMoments | None


def summarize(results: Sequence[ValidationResult]) -> dict[str, float]:
    """Summarize the cases of a validation, independent of their order.

    Returns:
        Means over cases of every metric, such as ``val_rmse_hu_full``. For a continuous latent,
        also ``val_latent_std_0`` etc. over the voxels of all cases inside the body, and
        ``val_active_channels``, the number of channels with a variance of the posterior mean above
        0.01 (Burda et al. 2016, section 5.2). For codes, also ``val_code_usage``, the fraction that
        occurs, and ``val_perplexity``, both over the ``val_codes_counted`` codes inside the body of
        all cases. Never NaN or infinite; empty without cases.
    """
    names = dict.fromkeys(name for result in results for name in result.values)
    summary = {}
    for name in names:
        values = [r.values[name] for r in results if name in r.values]
        summary[f"val_{name}"] = math.fsum(values) / len(values)
    moments = [r.moments for r in results if r.moments is not None]
    counts = [r.code_counts for r in results if r.code_counts is not None]
    return summary | _latent(moments) | _codes(counts)


def errors_in_hu(original: Volume, result: Volume, mask: Mask) -> dict[str, float]:
    """Compute the errors of a reconstruction by metric and window.

    For each default window ``W`` there is ``rmse_hu_W``; ``psnr_db_W``, of which the data range is
    the window's width (4024 HU for ``full``, 400 HU for ``soft_tissue``); and ``ssim_W``, of axial
    slices. A metric without a value, such as the PSNR of a perfect reconstruction, is left out.

    Args:
        original: Original volume.
        result: Reconstruction on the same grid.
        mask: Voxels to evaluate.

    Raises:
        InputError: If a value is not finite.
    """
    values: dict[str, float] = {}
    rows = evaluate_pair(original, result, case="validation", masks=(mask,))
    for row, window in zip(rows, DEFAULT_WINDOWS, strict=True):
        similarity = axial_ssim(original, result, window, mask)
        metrics = {"rmse_hu": row.rmse, "psnr_db": row.psnr, "ssim": similarity}
        values |= {f"{k}_{window.name}": v for k, v in metrics.items() if v is not None}
    return values


def _latent(moments: Sequence[LatentMoments]) -> dict[str, float]:
    if not any(m.count for m in moments):
        return {}
    std = LatentMoments.together(moments).std
    spread = {f"val_latent_std_{channel}": value for channel, value in enumerate(std)}
    return spread | {"val_active_channels": float(sum(value > _ACTIVE_STD for value in std))}


def _codes(counts: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    if not any(c.sum() for c in counts):
        return {}
    total = np.sum(counts, axis=0)
    shares = total[total > 0] / total.sum()
    return {
        "val_code_usage": len(shares) / len(total),
        "val_perplexity": float(np.exp(-(shares * np.log(shares)).sum())),
        "val_codes_counted": float(total.sum()),
    }
