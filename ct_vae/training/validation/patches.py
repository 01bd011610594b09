"""Validation on patches, in as many dimensions as the model has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ct_vae.config.run import RunConfig
from ct_vae.grid import Grid
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.masks import everything
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.pipeline import build_preprocessor
from ct_vae.training.data.model_units import ToModelUnits
from ct_vae.training.reporting.validation_picture import CasePicture, patch_picture
from ct_vae.training.validation.result import ValidationResult, errors_in_hu
from ct_vae.volume import Volume

# Ratio of length and height of the image of a 1-D patch.
_STRIP = 3


class PatchValidator:
    """Reconstructs patches and compares them with the originals.

    Args:
        model: Model in evaluation mode.
        config: Configuration of the run, for the mapping between HU and model units.
        device: Device of the model.
    """

    def __init__(self, model: Autoencoder, config: RunConfig, device: torch.device) -> None:
        self._model = model
        self._to_model_units = ToModelUnits(config, device)
        self._to_hu = build_preprocessor(config.preprocess).scale.to_hu

    @torch.no_grad()
    def __call__(self, patch: torch.Tensor, pictured: bool = True) -> ValidationResult:
        """Reconstruct one patch from its latent without noise, and compute its errors.

        Errors are in HU after rounding, over all voxels, averaged over channels. Sizes that are not
        multiples of the factor are padded by replication.

        Args:
            patch: Patch ``[C, *spatial]`` in HU.
            pictured: True to keep slices of its first channel.

        Raises:
            InputError: If the model returns values that are not finite.
        """
        sides = tuple(patch.shape[1:])
        image = self._to_model_units(_padded(patch, self._model.factor)[None])
        latent, counts, moments = self._encode(image)
        found = self._to_hu(self._model.decode(latent))[0]
        if len(patch) == 1:
            # A single channel was repeated for every image channel.
            found = found.mean(0, keepdim=True)
        inside = (slice(None), *(slice(side) for side in sides))
        pairs = list(zip(patch.cpu(), np.rint(found[inside].cpu().numpy()), strict=True))
        volumes = [(_volume(before.numpy()), _volume(after)) for before, after in pairs]
        values = [errors_in_hu(*pair, everything(pair[0])) for pair in volumes]
        picture = _picture(*volumes[0], len(sides)) if pictured else None
        return ValidationResult(_means(values), picture, counts, moments)

    def _encode(
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, NDArray[np.int64] | None, LatentMoments | None]:
        """Return the latent without noise, and counts of codes or moments of channels."""
        model = self._model
        if isinstance(model, QuantizedAutoencoder):
            quantized = model.quantize(model.features(image))
            codes = quantized.indices.flatten().cpu().numpy()
            return quantized.latent, np.bincount(codes, minlength=model.codebook_size), None
        assert isinstance(model, AutoencoderKL)
        mean = model.posterior(image).mode()
        rows = mean[0].flatten(1).float().cpu().numpy()
        return mean, None, LatentMoments.of(rows)


def _padded(patch: torch.Tensor, factor: Sequence[int]) -> torch.Tensor:
    missing = [-side % f for side, f in zip(patch.shape[1:], factor, strict=True)]
    if not any(missing):
        return patch
    # Pairs of low and high side, last axis first.
    pads = [end for high in reversed(missing) for end in (0, high)]
    return functional.pad(patch[None].float(), pads, mode="replicate")[0]


def _volume(values: NDArray[np.generic]) -> Volume:
    shape = (*values.shape, 1, 1)[:3]
    voxels = values.reshape(shape).astype(np.float32)
    return Volume(voxels, Grid(shape, np.eye(4)))


def _picture(original: Volume, result: Volume, dims: int) -> CasePicture:
    if dims == 1:
        original, result = (_strip(volume) for volume in (original, result))
    return patch_picture(original, result)


def _strip(volume: Volume) -> Volume:
    return _volume(volume.voxels[..., 0].repeat(max(1, len(volume.voxels) // _STRIP), axis=1))


def _means(values: Sequence[dict[str, float]]) -> dict[str, float]:
    names = [name for name in values[0] if all(name in each for each in values)]
    return {name: float(np.mean([each[name] for each in values])) for name in names}
