"""Continuous autoencoder of latent diffusion in one, two or three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import torch

from ct_vae.models.architecture_options import ArchitectureOptions, checked_architecture
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.posterior import DiagonalGaussian


class AutoencoderKL(Autoencoder):
    """Autoencoder with a Gaussian posterior (Rombach et al. 2022, appendix G).

    The defaults are those of the 2-D Stable Diffusion autoencoder, except for the dimensions and
    the image channels, which default to CT. Parameter names are those of CompVis.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3; defaults to 3.
        in_channels: Channels of the image.
        out_channels: Channels of the reconstruction.
        resolution: Side of the image for which `describe` reports sizes, a multiple of the factor.
        base_ch: Channels of the first convolution, and the unit of ``ch_mult``.
        ch_mult: Channels of each level in units of ``base_ch``; sizes halve between levels.
        down_channels: Channels of each level, instead of ``ch_mult``; the first convolution then
            has as many channels as the first level. Optional.
        num_res_blocks: Residual blocks per level of the encoder, one number or one for each level;
            the decoder has one more.
        attn_resolutions: Downsampling factors (the largest over the axes) at which every residual
            block is followed by attention; defaults to none.
        mid_attn: Use attention in the middle stages; defaults to true.
        z_channels: Channels of the encoder's output and the decoder's input.
        double_z: If true (the default), the encoder has ``2 * z_channels`` output channels.
        embed_dim: Channels of the latent.
        norm_groups: Groups of every group normalization; ``None`` (the default) uses the largest
            divisor of the number of channels up to 32.
        tanh_out: If true, apply a hyperbolic tangent to the output; defaults to false.
        dropout: Dropout probability in residual blocks.
        codebook_size: Ignored, for compatibility with quantized models.
        ckpt_path: Weights to load, a ``.safetensors`` file or a folder with ``model.safetensors``.
            Trained models include their scaling factor. Without it, weights are random and a
            warning is issued.
        options: Further arguments, see `ct_vae.models.architecture_options.ArchitectureOptions`.

    Attributes:
        scaling_factor: One over the latent's standard deviation; 0.18215 until measured.

    Raises:
        ConfigError: If arguments are invalid or contradict each other.
        WeightsError: If the weights do not match the model.

    Examples:
        >>> import torch
        >>> from ct_vae.models import AutoencoderKL
        >>> model = AutoencoderKL(base_ch=8, ch_mult=(1, 2, 2), num_res_blocks=1, mid_attn=False)
        >>> image = torch.zeros(1, 1, 16, 16, 16)
        >>> posterior = model.encode(image)
        >>> posterior.mean.shape
        torch.Size([1, 4, 4, 4, 4])
        >>> model.decode(posterior.mode()).shape
        torch.Size([1, 1, 16, 16, 16])
        >>> reconstruction, posterior = model(image, sample_posterior=False)
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the names are the interface that people have code against
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        resolution: int = 256,
        base_ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        down_channels: Sequence[int] | None = None,
        num_res_blocks: int | Sequence[int] = 2,
        attn_resolutions: int | Sequence[int] = (),
        mid_attn: bool = True,
        z_channels: int = 4,
        double_z: bool = True,
        embed_dim: int = 4,
        norm_groups: int | None = None,
        tanh_out: bool = False,
        dropout: float = 0.0,
        codebook_size: int = 8192,
        ckpt_path: str | Path | None = None,
        **options: Unpack[ArchitectureOptions],
    ) -> None:
        named = {
            "spatial_dims": spatial_dims,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "resolution": resolution,
            "base_ch": base_ch,
            "ch_mult": ch_mult,
            "down_channels": down_channels,
            "num_res_blocks": num_res_blocks,
            "attn_resolutions": attn_resolutions,
            "mid_attn": mid_attn,
            "z_channels": z_channels,
            "double_z": double_z,
            "embed_dim": embed_dim,
            "norm_groups": norm_groups,
            "tanh_out": tanh_out,
            "dropout": dropout,
            "codebook_size": codebook_size,
        }
        super().__init__(checked_architecture(AutoencoderKL, "kl", named, options))
        self.stage_2_inputs = self.config.stage_2_inputs
        self._start(ckpt_path)

    def moments(self, x: torch.Tensor) -> torch.Tensor:
        """Compute means and log-variances ``(B, 2 * embed_dim, *spatial / factor)`` of images.

        Args:
            x: Images ``(B, in_channels, *spatial)`` in model units; sizes are multiples of the
                factor.

        Raises:
            InputError: If the number of channels or a size is invalid.
        """
        return self.features(x)

    def encode(
        self,
        x: torch.Tensor,
        normalize: bool = False,
        sample: bool = False,
        generator: torch.Generator | None = None,
    ) -> DiagonalGaussian | torch.Tensor:
        """Encode images ``(B, in_channels, *spatial)``.

        Args:
            x: Images in model units; sizes are multiples of the factor.
            normalize: If true, return a latent of about unit standard deviation instead of the
                posterior; defaults to false.
            sample: With ``normalize``, return a sample instead of the mean; defaults to false.
            generator: Random generator of the sample; optional.

        Returns:
            The posterior, or a latent ``(B, embed_dim, *spatial / factor)`` multiplied by
            `scaling_factor`.
        """
        posterior = DiagonalGaussian(self.moments(x))
        if not normalize:
            return posterior
        latent = posterior.sample(generator) if sample else posterior.mode()
        return self._normalized(latent)

    def posterior(self, x: torch.Tensor) -> DiagonalGaussian:
        """Compute the posterior of images ``(B, in_channels, *spatial)``."""
        return DiagonalGaussian(self.moments(x))

    def forward(
        self, x: torch.Tensor, sample_posterior: bool = True
    ) -> tuple[torch.Tensor, DiagonalGaussian]:
        """Encode and decode images; return the reconstruction and the posterior."""
        posterior = self.posterior(x)
        latent = posterior.sample() if sample_posterior else posterior.mode()
        return self.decode(latent), posterior

    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return unscaled latents for MONAI's latent inferers, which scale by themselves.

        These are posterior means, or samples if the model was created with
        ``stage_2_inputs="sample"``.
        """
        posterior = self.posterior(x)
        return posterior.sample() if self.stage_2_inputs == "sample" else posterior.mode()

    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents for MONAI's latent inferers."""
        return self.decode(z)
