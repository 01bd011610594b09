"""What autoencoders with a volume of codes as their latent have in common."""

from __future__ import annotations

import torch

from ct_vae.config.model import ModelConfig
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantizers.make import make_quantizer
from ct_vae.models.quantizers.quantized import Quantized


class QuantizedAutoencoder(Autoencoder):
    """An autoencoder with a quantizer between ``quant_conv`` and ``post_quant_conv``.

    Args:
        config: Architecture of a kind with codes.

    Attributes:
        codebook_size: Number of codes.
        scaling_factor: One over the latent's standard deviation, 0.18215 until measured.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.quantizer = make_quantizer(config)
        self.codebook_size = self.quantizer.codebook_size

    def encode(self, x: torch.Tensor, normalize: bool = False) -> Quantized | torch.Tensor:
        """Encode images ``(B, in_channels, *spatial)``.

        Args:
            x: In model units, sides multiples of the factor.
            normalize: Give the quantized latent times `scaling_factor` alone.

        Returns:
            Quantized latent with its indices, losses and use of codes, or that latent alone.

        Raises:
            InputError: If channels or sides do not fit.
        """
        quantized = self.quantize(self.features(x))
        return quantized.latent * self.scaling_factor if normalize else quantized

    def quantize(self, features: torch.Tensor) -> Quantized:
        """Put what `features` gives, ``(B, latent_channels, *spatial)``, onto codes."""
        quantized: Quantized = self.quantizer(features)
        return quantized

    def decode_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Decode codes ``(B, *spatial)``, integers from 0 to the size of the codebook less one.

        Returns:
            ``(B, out_channels, *spatial * factor)`` in model units.

        Raises:
            InputError: If an index is none of the codebook's.
        """
        return self.decode(self.quantizer.decode_indices(indices))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Quantized]:
        """Reconstruct images; gives the reconstruction and what was quantized."""
        quantized = self.quantize(self.features(x))
        return self.decode(quantized.latent), quantized

    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Unscaled quantized latents, for MONAI's latent inferers, which scale by themselves."""
        return self.quantize(self.features(x)).latent

    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents after moving each voxel to its nearest code."""
        return self.decode(self.quantizer.nearest(z))
