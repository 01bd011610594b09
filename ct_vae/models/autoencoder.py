"""What every autoencoder of the family has in common."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.config.default_models import find_model
from ct_vae.config.model import ModelConfig
from ct_vae.errors import InputError
from ct_vae.models.compatibility import check_compatible
from ct_vae.models.decoder import Decoder
from ct_vae.models.description import Stage, feature_maps
from ct_vae.models.encoder import Encoder
from ct_vae.models.layers import Layers
from ct_vae.models.linear_code import dct_code, load_linear_code
from ct_vae.models.weights import load_into, load_weights, own_config

LATENT_SCALE = 0.18215


class UntrainedWarning(UserWarning):
    """A model was made with random weights."""


class Autoencoder(nn.Module, ABC):
    """Encoder, 1-wide convolutions around the latent, decoder; what the latent is, kinds decide.

    Parameter names follow CompVis (Rombach et al. 2022).

    Args:
        config: The architecture, checked and completed.

    Attributes:
        config: As given: all numbers of the network.
        spatial_dims: 1, 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the reconstruction.
        latent_channels: Channels of the latent.
        resolution: Side for which `describe` reports sizes.
        scaling_factor: One over the latent's standard deviation, 0.18215 until measured.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.spatial_dims = config.spatial_dims
        self.in_channels = config.in_channels
        self.out_channels = config.out_channels
        self.latent_channels = config.latent_channels
        self.resolution = config.resolution
        self.scaling_factor = LATENT_SCALE
        layers = Layers(config)
        self.encoder = Encoder(layers)
        self.decoder = Decoder(layers)
        dims, latent = config.spatial_dims, config.latent_channels
        self.quant_conv = ConvND(dims, config.encoder_channels, config.feature_channels, kernel=1)
        self.post_quant_conv = ConvND(dims, latent, config.z_channels, kernel=1)
        if config.linear_skip:
            code = dct_code(config.in_channels, config.factor, latent)
            load_linear_code(self.encoder, self.decoder, code)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return self.config.factor

    @property
    def full_resolution_width(self) -> int:
        """Most channels that a feature map of the image's own size has, for memory estimates."""
        config, voxels = self.config, prod(self.config.patch_sides)
        if not config.has_patches:
            return max(config.widths[:2])
        # A map of the first level holds as many numbers as one of this width would.
        numbers = max(config.widths[0], voxels * config.out_channels)
        return -(-numbers // voxels) + config.refine_channels + 1

    @property
    def output_activation(self) -> nn.Module:
        """What turns what `decode_raw` gives into model units, voxel by voxel."""
        return self.decoder.activation

    @property
    def last_layer(self) -> torch.Tensor:
        """Kernel of the last convolution, by which the weight of an adversary is found."""
        parameters = self.decoder.conv_out.named_parameters()
        return next(value for name, value in parameters if name.endswith("weight"))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the encoder says about the latent of images, before anything is drawn or quantized.

        Args:
            x: ``(B, in_channels, *spatial)`` in model units, sides multiples of the factor.

        Returns:
            ``(B, features, *spatial / factor)``: moments, or the latent before quantization.

        Raises:
            InputError: If channels or sides do not fit.
        """
        self._check(x, self.in_channels, self.factor)
        result: torch.Tensor = self.quant_conv(self.encoder(x))
        return result

    def decode(self, z: torch.Tensor, denorm: bool = False) -> torch.Tensor:
        """Decode latents ``(B, latent_channels, *spatial)``.

        Args:
            z: Unscaled, or scaled when ``denorm`` is set.
            denorm: Divide by `scaling_factor` first.

        Returns:
            ``(B, out_channels, *spatial * factor)`` in model units.

        Raises:
            InputError: If channels or dimensions do not fit.
        """
        self._check(z, self.latent_channels, (1,) * self.spatial_dims)
        result: torch.Tensor = self.decoder(
            self._entering(z / self.scaling_factor if denorm else z)
        )
        return result

    def decode_raw(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents without the output activation, to logits where it is a sigmoid.

        Args:
            z: ``(B, latent_channels, *spatial)``.

        Returns:
            ``(B, out_channels, *spatial * factor)``, which `output_activation` turns into what
            `decode` gives.

        Raises:
            InputError: If channels or dimensions do not fit.
        """
        self._check(z, self.latent_channels, (1,) * self.spatial_dims)
        return self.decoder.raw(self._entering(z))

    def encoding_parts(self) -> dict[str, nn.Module]:
        """The modules that decide about the latent of an image, by name."""
        names = ("encoder", "quant_conv", "quantizer")
        return {name: self._modules[name] for name in names if self._modules.get(name) is not None}  # type: ignore[misc]

    @abstractmethod
    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Unscaled latents for MONAI's latent inferers, which scale by themselves."""

    @abstractmethod
    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents, for MONAI's latent inferers."""

    def describe(self) -> list[Stage]:
        """The feature maps from image to latent and back, in order of computation."""
        return feature_maps(self.config)

    def _entering(self, z: torch.Tensor) -> torch.Tensor:
        """What enters the decoder, of latents of any precision."""
        # A posterior is at least float32, whatever the model's own precision.
        own = next(self.post_quant_conv.parameters()).dtype
        result: torch.Tensor = self.post_quant_conv(z.to(own))
        return result

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
        """Load the first weights, or warn that there are none; the constructor's last step."""
        if ckpt_path is None:
            name = type(self).__name__
            text = f"{name} starts from scratch with random weights: no ckpt_path was given"
            warnings.warn(text, UntrainedWarning, stacklevel=3)
            return
        where = f"{ckpt_path}: the weights"
        ckpt_path = find_model(ckpt_path)
        config = own_config(ckpt_path)
        if config is not None:
            check_compatible(self.config, config.model, where)
        load_into(self, load_weights(ckpt_path), where)
        if config is not None:
            self.scaling_factor = config.latent.scaling_factor
