"""How well a model reconstructs whole volumes, in HU, and what its latent holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.batch.signals import StopRequest
from ct_vae.config.run import RunConfig
from ct_vae.evaluation.metrics.masks import BoolArray, Mask, body_mask
from ct_vae.evaluation.metrics.metric_rows import DEFAULT_WINDOWS, evaluate_pair
from ct_vae.evaluation.metrics.ssim import axial_ssim
from ct_vae.inference.codec import Codec
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.inference.tiling import Tiling
from ct_vae.latent import Latent, ModelRecord
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.build import build_preprocessor
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.training.distributed import World
from ct_vae.training.reporting.validation_picture import PICTURED_CASES, CasePicture, case_picture
from ct_vae.volume import Volume

# The weights have no digest before they are saved, and these latents never leave memory.
_NO_DIGEST = "0" * 64
# Burda et al. 2016, section 5.2: a unit is active when its mean has a variance above 0.01.
_ACTIVE_STD = 0.1


@dataclass(frozen=True, eq=False)
class ValidationResult:
    """What validation tells of one case; small, and it can be pickled.

    Attributes:
        values: Errors inside the body by metric and window; a metric without a value, such as the
            PSNR of a perfect reconstruction, is left out.
        picture: Slices of original and reconstruction; ``None`` when none was asked for.
        code_counts: ``(codebook_size,)`` int64, how often each code occurs inside the body;
            ``None`` without codes.
        moments: Of the latent's channels inside the body; ``None`` with codes.
    """

    values: dict[str, float]
    picture: CasePicture | None
    code_counts: NDArray[np.int64] | None
    moments: LatentMoments | None


def make_codec(
    model: Autoencoder, preprocessor: Preprocessor, tiling: Tiling | None = None
) -> Codec:
    """A codec of weights that are still being trained; the model is put into evaluation mode."""
    kind: Literal["kl", "vq"] = "vq" if isinstance(model, QuantizedAutoencoder) else "kl"
    identity = ModelRecord(name="training", sha256=_NO_DIGEST, latent_type=kind)
    return Codec(model, preprocessor, identity, tiling)


def validate(
    model: Autoencoder,
    cases: Sequence[Callable[[], Volume]],
    config: RunConfig,
    world: World,
    stop: StopRequest,
) -> list[ValidationResult]:
    """Send every validation case through the model; ranks take turns.

    Args:
        model: Put into evaluation mode.
        cases: Each returns a whole volume.
        config: Its preprocessing and inference settings.
        world: Ranks that share the cases.
        stop: Ends the validation early.

    Returns:
        Results of all cases in their order, on every rank; fewer when asked to stop.
    """
    model.eval()
    if not cases:
        return []
    wishes = config.inference
    tiling = Tiling(wishes.tiling, wishes.tile, wishes.overlap, wishes.max_memory_gb)
    codec = make_codec(model, build_preprocessor(config.preprocess), tiling)
    own = []
    for number in range(world.rank, len(cases), world.size):
        if stop.name is not None:
            break
        own.append((number, validate_case(codec, cases[number](), number < PICTURED_CASES)))
    return [result for _, result in sorted(world.gather(own), key=lambda pair: pair[0])]


def validate_case(codec: Codec, volume: Volume, pictured: bool = True) -> ValidationResult:
    """Encode and decode one whole volume, and compare it with the original inside the body.

    Errors are those of whole HU, as int16 files hold them. For each default window ``W`` there is
    ``rmse_hu_W``; ``psnr_db_W``, of which the data range is the window's width (4024 HU for
    ``full``, 400 HU for ``soft_tissue``); and ``ssim_W``, of axial slices.

    Args:
        codec: The model.
        volume: The original.
        pictured: Whether slices are kept.

    Raises:
        InputError: If the model gives values that are not finite.
    """
    latent = codec.encode(volume)
    decoded = codec.decode(latent)
    result = Volume(np.rint(decoded.voxels), decoded.grid)
    body = body_mask(volume)
    inside = _on_latent(body, volume, latent)
    codes = latent.array.ndim == 3
    return ValidationResult(
        values=_errors(volume, result, body),
        picture=case_picture(volume, result, body) if pictured else None,
        code_counts=_count_codes(codec, latent, inside) if codes else None,
        moments=None if codes else LatentMoments.of(latent.array[:, inside]),
    )


def summarise(results: Sequence[ValidationResult]) -> dict[str, float]:
    """Put the cases of a validation together; their order changes nothing.

    Returns:
        Means over cases of every metric, as ``val_rmse_hu_full``. Of a continuous latent
        ``val_latent_std_0`` and so on, over the voxels of all cases inside the body, and
        ``val_active_channels``: those of which the posterior mean has a variance above 0.01
        (Burda et al. 2016, section 5.2). Of codes ``val_code_usage``, the share that occurs, and
        ``val_perplexity``, both over the ``val_codes_counted`` codes inside the body of all cases
        together. Never NaN or infinite; empty without cases.
    """
    names = dict.fromkeys(name for result in results for name in result.values)
    summary = {}
    for name in names:
        values = [r.values[name] for r in results if name in r.values]
        summary[f"val_{name}"] = math.fsum(values) / len(values)
    moments = [r.moments for r in results if r.moments is not None]
    counts = [r.code_counts for r in results if r.code_counts is not None]
    return summary | _latent(moments) | _codes(counts)


def _errors(original: Volume, result: Volume, body: Mask) -> dict[str, float]:
    values: dict[str, float] = {}
    rows = evaluate_pair(original, result, case="validation", masks=(body,))
    for row, window in zip(rows, DEFAULT_WINDOWS, strict=True):
        similarity = axial_ssim(original, result, window, body)
        told = {"rmse_hu": row.rmse, "psnr_db": row.psnr, "ssim": similarity}
        values |= {f"{k}_{window.name}": v for k, v in told.items() if v is not None}
    return values


def _on_latent(mask: Mask, volume: Volume, latent: Latent) -> BoolArray:
    """Latent voxels of which the centre lies in a voxel of the mask, ``(X, Y, Z)`` bool."""
    # Not the grid that is stored, which is straightened where a source is sheared.
    grid = latent.record.padded_grid().coarsen(latent.record.factor)
    matrix = np.linalg.inv(volume.grid.affine) @ grid.affine
    inside: BoolArray = ndimage.affine_transform(
        mask.voxels.astype(np.uint8), matrix, output_shape=grid.shape, order=0
    ).astype(np.bool_)
    return inside


def _count_codes(codec: Codec, latent: Latent, inside: BoolArray) -> NDArray[np.int64]:
    model = codec.network.model
    assert isinstance(model, QuantizedAutoencoder)
    codes = latent.array[inside].astype(np.int64)
    return np.bincount(codes, minlength=model.codebook_size).astype(np.int64)


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
