"""Validation of a model on whole volumes or patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.batch.signals import StopRequest
from ct_vae.config.run import RunConfig
from ct_vae.evaluation.metrics.masks import BoolArray, Mask, body_mask
from ct_vae.inference.codec import Codec
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.inference.tiling import Tiling
from ct_vae.latent import Latent, ModelRecord
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.pipeline import Preprocessor, build_preprocessor
from ct_vae.training.data.given import ValidationCase
from ct_vae.training.distributed import World
from ct_vae.training.reporting.validation_picture import PICTURED_CASES, case_picture
from ct_vae.training.validation.patches import PatchValidator
from ct_vae.training.validation.result import ValidationResult, errors_in_hu
from ct_vae.volume import Volume

# The weights have no digest before they are saved, and these latents never leave memory.
_NO_DIGEST = "0" * 64


def make_codec(
    model: Autoencoder, preprocessor: Preprocessor, tiling: Tiling | None = None
) -> Codec:
    """A codec of weights that are still being trained; the model is put into evaluation mode."""
    kind: Literal["kl", "vq"] = "vq" if isinstance(model, QuantizedAutoencoder) else "kl"
    identity = ModelRecord(name="training", sha256=_NO_DIGEST, latent_type=kind)
    return Codec(model, preprocessor, identity, tiling)


def validation_codec(model: Autoencoder, config: RunConfig) -> Codec:
    """Return the codec that validates a model on volumes; the model is put into evaluation mode.

    Raises:
        ConfigError: If the model cannot encode volumes.
    """
    wishes = config.inference
    tiling = Tiling(wishes.tiling, wishes.tile, wishes.overlap, wishes.max_memory_gb)
    return make_codec(model, build_preprocessor(config.preprocess), tiling)


def validate(
    model: Autoencoder,
    cases: Sequence[ValidationCase],
    config: RunConfig,
    world: World,
    stop: StopRequest,
) -> list[ValidationResult]:
    """Send every validation case through the model; ranks take turns.

    Args:
        model: Put into evaluation mode.
        cases: Each returns a whole volume, or a patch ``[C, *spatial]`` in HU.
        config: Its preprocessing and inference settings.
        world: Ranks that share the cases.
        stop: Ends the validation early.

    Returns:
        Results of all cases in their order, on every rank; fewer when asked to stop.
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
            # A 1-D model, which validates on patches, has none.
            codec = codec or validation_codec(model, config)
            result = validate_case(codec, case, pictured)
        else:
            result = validate_patch(case, pictured)
        own.append((number, result))
    return [result for _, result in sorted(world.gather(own), key=lambda pair: pair[0])]


def validate_case(codec: Codec, volume: Volume, pictured: bool = True) -> ValidationResult:
    """Encode and decode one whole volume, and compare it with the original inside the body.

    Errors are those of whole HU, as int16 files hold them.

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
        values=errors_in_hu(volume, result, body),
        picture=case_picture(volume, result, body) if pictured else None,
        code_counts=_count_codes(codec, latent, inside) if codes else None,
        moments=None if codes else LatentMoments.of(latent.array[:, inside]),
    )


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
