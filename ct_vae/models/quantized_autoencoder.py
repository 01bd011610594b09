"""Common base class of autoencoders with codes."""

from __future__ import annotations

import torch

from ct_vae.blocks.quantizers.finite_scalar import FiniteScalar
from ct_vae.blocks.quantizers.lookup_free import LookupFree
from ct_vae.blocks.quantizers.quantized import Quantized, Quantizer
from ct_vae.config.model import ModelConfig
from ct_vae.models.autoencoder import Autoencoder


class QuantizedAutoencoder(Autoencoder):
    """Autoencoder with a quantizer between ``quant_conv`` and ``post_quant_conv``.

    Args:
        config: Architecture with a quantizer.

    Attributes:
        codebook_size: Number of codes.
        scaling_factor: One over the latent's standard deviation; 0.18215 until measured.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.quantizer = make_quantizer(config)
        self.codebook_size = self.quantizer.codebook_size

    def _summary(self) -> list[str]:
        return [*super()._summary(), f"{self.codebook_size:,} codes"]

    def encode(
        self,
        x: torch.Tensor,
        normalize: bool = False,
        sample: bool = False,  # noqa: ARG002 - the interface of continuous models
        generator: torch.Generator | None = None,  # noqa: ARG002
    ) -> Quantized | torch.Tensor:
        """Encode images ``(B, in_channels, *spatial)``.

        Args:
            x: Images in model units; sizes are multiples of the factor.
            normalize: If true, return only the quantized latent times `scaling_factor`; defaults to
                false.
            sample: Ignored, for compatibility with continuous models; codes are never sampled.
            generator: Ignored like ``sample``.

        Returns:
            Quantized latent with indices, losses and codebook usage, or only the latent.

        Raises:
            InputError: If the number of channels or a size is invalid.
        """
        quantized = self.quantize(self.features(x))
        return self._normalized(quantized.latent) if normalize else quantized

    def quantize(self, features: torch.Tensor) -> Quantized:
        """Quantize the output of `features`, ``(B, latent_channels, *spatial)``."""
        quantized: Quantized = self.quantizer(features)
        return quantized

    def decode_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Decode code indices ``(B, *spatial)``.

        Args:
            indices: Integers from 0 to ``codebook_size - 1``.

        Returns:
            Images ``(B, out_channels, *spatial * factor)`` in model units.

        Raises:
            InputError: If an index is outside the codebook.
        """
        return self.decode(self.quantizer.decode_indices(indices))

    def forward(
        self,
        x: torch.Tensor,
        sample_posterior: bool = True,  # noqa: ARG002 - the interface of continuous models
    ) -> tuple[torch.Tensor, Quantized]:
        """Encode and decode images; return the reconstruction and the quantizer's result.

        Args:
            x: Images ``(B, in_channels, *spatial)`` in model units; sizes are multiples of the
                factor.
            sample_posterior: Ignored, for compatibility with continuous models; codes are never
                sampled.
        """
        quantized = self.quantize(self.features(x))
        return self.decode(quantized.latent), quantized

    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return unscaled quantized latents for MONAI's latent inferers.

        The inferers apply the scaling themselves.
        """
        return self.quantize(self.features(x)).latent

    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents after replacing each voxel by its nearest code."""
        return self.decode(self.quantizer.nearest(z))


def make_quantizer(config: ModelConfig) -> Quantizer:
    """Create the quantizer of a model with codes."""
    if config.quantizer == "ema":
        # It imports the compiler of torch, which takes a second.
        from ct_vae.blocks.quantizers.ema_codebook import EMACodebook

        return EMACodebook(
            config.codebook_size,
            config.embed_dim,
            decay=config.codebook_decay,
            normalize=config.normalize_codes,
        )
    assert config.quantizer is not None
    return LookupFree(config.embed_dim) if config.levels is None else FiniteScalar(config.levels)
