"""The continuous autoencoder of latent diffusion, in one, two or three dimensions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.errors import ConfigError, InputError
from ct_vae.models.decoder import Decoder
from ct_vae.models.description import Stage, feature_maps
from ct_vae.models.encoder import Encoder
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.stages import Shape
from ct_vae.models.weights import load_into, load_weights, own_config

LATENT_SCALE = 0.18215


class UntrainedWarning(UserWarning):
    """A model was made with random weights."""


class AutoencoderKL(nn.Module):
    """Encoder to a diagonal Gaussian, decoder back (Rombach et al. 2022, appendix G).

    Defaults are those of the 2-D Stable Diffusion autoencoder; only the dimensions and the image
    channels default to CT. Parameter names follow CompVis.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the reconstruction.
        resolution: Side for which `describe` reports sizes, a multiple of the factor as the sides
            of every image are.
        base_ch: Channels of the first convolution, and the unit of ``ch_mult``.
        ch_mult: Channels of each level in units of ``base_ch``; sides halve between levels.
        down_channels: Channels of each level as they are, instead of ``ch_mult``; the first
            convolution then has those of the first level instead of ``base_ch``.
        num_res_blocks: Residual blocks per level of the encoder; the decoder has one more.
        attn_resolutions: Downsample factors at which every block is followed by attention.
        mid_attn: Whether the middle has attention.
        z_channels: Channels that leave the encoder and enter the decoder.
        double_z: Whether the encoder gives ``2 * z_channels``.
        embed_dim: Channels of the latent.
        norm_groups: Groups of every normalisation; ``None`` means the largest divisor of the
            width up to 32.
        tanh_out: Whether the output goes through a hyperbolic tangent.
        dropout: Of every residual block.
        codebook_size: Ignored; quantised models have it.
        ckpt_path: Weights to load, a ``.safetensors`` file or a folder that holds
            ``model.safetensors``; a trained model brings its scaling factor. Without it a
            warning says that the weights are random.

    Attributes:
        scaling_factor: One over the latent's standard deviation, 0.18215 until measured.

    Raises:
        ConfigError: If the numbers do not fit together.
        WeightsError: If the weights do not fit the model.
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
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (),
        mid_attn: bool = True,
        z_channels: int = 4,
        double_z: bool = True,
        embed_dim: int = 4,
        norm_groups: int | None = None,
        tanh_out: bool = False,
        dropout: float = 0.0,
        codebook_size: int = 8192,  # noqa: ARG002 - accepted so that configurations are exchanged
        ckpt_path: str | Path | None = None,
    ) -> None:
        super().__init__()
        stem, channels = _widths(base_ch, ch_mult, down_channels)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.resolution = resolution
        self.latent_channels = embed_dim
        self.scaling_factor = LATENT_SCALE
        self.shape = Shape(
            spatial_dims=spatial_dims,
            stem=stem,
            channels=channels,
            num_res_blocks=num_res_blocks,
            attention=_attending_levels(len(channels), attn_resolutions),
            mid_attn=mid_attn,
            norm_groups=norm_groups,
            dropout=dropout,
        )
        _check_positive(
            in_channels=in_channels,
            out_channels=out_channels,
            z_channels=z_channels,
            embed_dim=embed_dim,
        )
        _check_resolution(resolution, self.shape.factor)
        encoded = 2 * z_channels if double_z else z_channels
        self.encoder = Encoder(self.shape, in_channels, encoded)
        self.decoder = Decoder(self.shape, z_channels, out_channels, tanh_out)
        self.quant_conv = ConvND(spatial_dims, encoded, 2 * embed_dim, kernel=1)
        self.post_quant_conv = ConvND(spatial_dims, embed_dim, z_channels, kernel=1)
        self._start(ckpt_path)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return (self.shape.factor,) * self.spatial_dims

    @property
    def full_resolution_width(self) -> int:
        """Most channels that a feature map of the image's own size has, for memory estimates."""
        return max(self.shape.stem, *self.shape.channels[:2])

    def moments(self, x: torch.Tensor) -> torch.Tensor:
        """Means and log-variances ``(B, 2 * embed_dim, *spatial / factor)`` of images.

        Args:
            x: ``(B, in_channels, *spatial)`` in model units, sides multiples of the factor.

        Raises:
            InputError: If channels or sides do not fit.
        """
        self._check(x, self.in_channels, self.factor)
        result: torch.Tensor = self.quant_conv(self.encoder(x))
        return result

    def encode(
        self,
        x: torch.Tensor,
        normalize: bool = False,
        sample: bool = False,
        generator: torch.Generator | None = None,
    ) -> DiagonalGaussian | torch.Tensor:
        """Encode images ``(B, in_channels, *spatial)``.

        Args:
            x: In model units, sides multiples of the factor.
            normalize: Give a latent of about unit standard deviation instead of the posterior.
            sample: With ``normalize``, a sample instead of the mean.
            generator: Of the sample.

        Returns:
            The posterior, or ``(B, embed_dim, *spatial / factor)`` times `scaling_factor`.
        """
        posterior = DiagonalGaussian(self.moments(x))
        if not normalize:
            return posterior
        latent = posterior.sample(generator) if sample else posterior.mode()
        return latent * self.scaling_factor

    def posterior(self, x: torch.Tensor) -> DiagonalGaussian:
        """The posterior of images ``(B, in_channels, *spatial)``."""
        return DiagonalGaussian(self.moments(x))

    def decode(self, z: torch.Tensor, denorm: bool = False) -> torch.Tensor:
        """Decode latents ``(B, embed_dim, *spatial)``.

        Args:
            z: Unscaled, or scaled when ``denorm`` is set.
            denorm: Divide by `scaling_factor` first.

        Returns:
            ``(B, out_channels, *spatial * factor)`` in model units.

        Raises:
            InputError: If channels or dimensions do not fit.
        """
        self._check(z, self.latent_channels, (1,) * self.spatial_dims)
        latent = z / self.scaling_factor if denorm else z
        result: torch.Tensor = self.decoder(self.post_quant_conv(latent))
        return result

    def forward(
        self, x: torch.Tensor, sample_posterior: bool = True
    ) -> tuple[torch.Tensor, DiagonalGaussian]:
        """Reconstruct images; gives the reconstruction and the posterior."""
        posterior = self.posterior(x)
        latent = posterior.sample() if sample_posterior else posterior.mode()
        # The posterior is at least float32; the decoder takes what the encoder was given.
        return self.decode(latent.to(x.dtype)), posterior

    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Unscaled posterior means, for MONAI's latent inferers, which scale by themselves."""
        return self.posterior(x).mode()

    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents, for MONAI's latent inferers."""
        return self.decode(z)

    def describe(self) -> list[Stage]:
        """The feature maps from image to latent and back, in order of computation."""
        return feature_maps(self.shape, self.latent_channels, self.resolution)

    def _check(self, x: torch.Tensor, channels: int, factor: Sequence[int]) -> None:
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != channels:
            raise InputError(
                f"expected (batch, {channels}, {self.spatial_dims} sides), got {tuple(x.shape)}"
            )
        if any(n < 1 or n % f for n, f in zip(x.shape[2:], factor, strict=True)):
            raise InputError(
                f"sides {tuple(x.shape[2:])} are not multiples of the factor {tuple(factor)}",
                "pad the image, or use ct_vae.load_codec, which does",
            )

    def _start(self, ckpt_path: str | Path | None) -> None:
        if ckpt_path is None:
            text = "AutoencoderKL starts from scratch with random weights: no ckpt_path was given"
            warnings.warn(text, UntrainedWarning, stacklevel=3)
            return
        load_into(self, load_weights(ckpt_path), f"{ckpt_path}: the weights")
        config = own_config(ckpt_path)
        if config is not None:
            self.scaling_factor = config.latent.scaling_factor


def _widths(
    base_ch: int, ch_mult: Sequence[int], down_channels: Sequence[int] | None
) -> tuple[int, tuple[int, ...]]:
    """Channels of the first convolution and of each level."""
    if down_channels is None:
        return base_ch, tuple(base_ch * m for m in ch_mult)
    return next(iter(down_channels), 0), tuple(down_channels)


def _attending_levels(levels: int, attn_resolutions: Sequence[int]) -> tuple[bool, ...]:
    factors = [2**level for level in range(levels)]
    strange = sorted(set(attn_resolutions) - set(factors))
    if strange:
        raise ConfigError(
            f"attn_resolutions {strange} do not occur, the factors of the levels are {factors}"
        )
    return tuple(factor in attn_resolutions for factor in factors)


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{name} is at least 1, got {number}")


def _check_resolution(resolution: int, factor: int) -> None:
    if resolution < 1 or resolution % factor:
        raise ConfigError(
            f"resolution {resolution} is not a positive multiple of the factor {factor}",
            "it is only the side for which sizes are reported: choose any multiple",
        )
