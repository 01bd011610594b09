"""Validation of a model on volumes or patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.batch.signals import StopRequest
from ct_vae.config.run import RunConfig
from ct_vae.inference.codec import Codec
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.inference.tiling import Tiling
from ct_vae.latent import Latent, ModelRecord
from ct_vae.masks import BoolArray, Mask, body_mask
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.pipeline import Preprocessor, build_preprocessor
from ct_vae.training.data.given import ValidationCase
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.reporting.validation_picture import PICTURED_CASES, case_picture
from ct_vae.training.validation.patches import PatchValidator
from ct_vae.training.validation.result import ValidationResult, errors_in_hu
from ct_vae.volume import Volume

# The weights have no digest before they are saved, and these latents never leave memory.
_NO_DIGEST = "0" * 64


def make_codec(
    model: Autoencoder, preprocessor: Preprocessor, tiling: Tiling | None = None
) -> Codec:
    """Create a codec of a model in training; the model is set to evaluation mode."""
    kind: Literal["kl", "vq"] = "vq" if isinstance(model, QuantizedAutoencoder) else "kl"
    identity = ModelRecord(name="training", sha256=_NO_DIGEST, latent_type=kind)
    return Codec(model, preprocessor, identity, tiling)


def validation_codec(model: Autoencoder, config: RunConfig) -> Codec:
    """Create the codec for validation on volumes; the model is set to evaluation mode.

    Raises:
        ConfigError: If the model cannot encode volumes.
    """
    settings = config.inference
    tiling = Tiling(settings.tiling, settings.tile, settings.overlap, settings.max_memory_gb)
    return make_codec(model, build_preprocessor(config.preprocess), tiling)


def validate(
    model: Autoencoder,
    cases: Sequence[ValidationCase],
    config: RunConfig,
    world: DistributedContext,
    stop: StopRequest,
) -> list[ValidationResult]:
    """Validate a model on all cases, which ranks share.

    Args:
        model: Model, which is set to evaluation mode.
        cases: Functions that return a volume, or a patch ``[C, *spatial]`` in HU.
        config: Configuration with preprocessing and inference settings.
        world: Ranks that share the cases.
        stop: Ends the validation early.

    Returns:
        Results of all cases in order, on every rank; fewer if a stop is requested.
    """
    model.eval()
    if not cases:
        return []
    codec: Codec | None = None
    validate_patch = PatchValidator(model, config, world.device)
    own = []
    for number in range(world.rank, len(cases), world.size):
        if stop.name is not None:
            break
        case, pictured = cases[number](), number < PICTURED_CASES
        if isinstance(case, Volume):
            # 1-D models have no codec, and validate on patches.
            codec = codec or validation_codec(model, config)
            result = validate_case(codec, case, pictured)
        else:
            result = validate_patch(case, pictured)
        own.append((number, result))
    return [result for _, result in sorted(world.gather(own), key=lambda pair: pair[0])]


def validate_case(codec: Codec, volume: Volume, pictured: bool = True) -> ValidationResult:
    """Encode and decode one volume, and compute its errors inside the body.

    Errors are in HU after rounding, as in int16 files.

    Args:
        codec: Codec of the model.
        volume: Original volume.
        pictured: True to keep slices.

    Raises:
        InputError: If the model returns values that are not finite.
    """
    latent = codec.encode(volume)
    decoded = codec.decode(latent)
    result = Volume(np.rint(decoded.voxels), decoded.grid)
    body = body_mask(volume)
    inside = _on_latent(body, volume, latent)
    codes = latent.array.ndim == 3
    return ValidationResult(
        values=errors_in_hu(volume, result, body),
        picture=case_picture(volume, result, body) if pictured else None,
        code_counts=_count_codes(codec, latent, inside) if codes else None,
        moments=None if codes else LatentMoments.of(latent.array[:, inside]),
    )


def _on_latent(mask: Mask, volume: Volume, latent: Latent) -> BoolArray:
    """Return the mask ``(X, Y, Z)`` of latent voxels with their center inside a mask."""
    # The stored grid differs if the source is sheared.
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
