"""What every autoencoder of the family has in common."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.config.default_models import find_model
from ct_vae.config.model import ModelConfig
from ct_vae.errors import ConfigError, InputError
from ct_vae.models.agreement import refuse_contradictions
from ct_vae.models.decoder import Decoder
from ct_vae.models.description import Stage, feature_maps
from ct_vae.models.encoder import Encoder
from ct_vae.models.linear_code import dct_code, load_linear_code
from ct_vae.models.shape import Shape
from ct_vae.models.weights import load_into, load_weights, own_config

LATENT_SCALE = 0.18215


class UntrainedWarning(UserWarning):
    """A model was made with random weights."""


@dataclass(frozen=True)
class Channels:
    """How wide the maps are at which the parts of an autoencoder meet.

    Attributes:
        image: Of the image.
        encoded: What leaves the encoder.
        features: What leaves ``quant_conv``.
        latent: What enters ``post_quant_conv``.
        decoded: What enters the decoder.
        reconstruction: Of the reconstruction.

    Raises:
        ConfigError: If one is below 1.
    """

    image: int
    encoded: int
    features: int
    latent: int
    decoded: int
    reconstruction: int

    def __post_init__(self) -> None:
        # The names under which constructors take them.
        numbers = {
            "in_channels": self.image,
            "out_channels": self.reconstruction,
            "z_channels": self.decoded,
            "embed_dim": self.latent,
        }
        for name, number in numbers.items():
            if number < 1:
                raise ConfigError(f"{name} is at least 1, got {number}")


class Autoencoder(nn.Module, ABC):
    """Encoder, 1-wide convolutions around the latent, decoder; what the latent is, kinds decide.

    Parameter names follow CompVis (Rombach et al. 2022).

    Args:
        shape: Of encoder and decoder.
        channels: Where the parts meet.
        resolution: Side for which `describe` reports sizes, a multiple of the factor.
        tanh_out: Whether the output goes through a hyperbolic tangent.

    Attributes:
        scaling_factor: One over the latent's standard deviation, 0.18215 until measured.

    Raises:
        ConfigError: If the resolution is not a multiple of the factor.
    """

    def __init__(self, shape: Shape, channels: Channels, resolution: int, tanh_out: bool) -> None:
        super().__init__()
        largest = max(shape.factor)
        if resolution < 1 or resolution % largest:
            raise ConfigError(
                f"resolution {resolution} is not a positive multiple of the factor {largest}",
                "it is only the side for which sizes are reported: choose any multiple",
            )
        self.shape = shape
        self.spatial_dims = shape.spatial_dims
        self.in_channels = channels.image
        self.out_channels = channels.reconstruction
        self.latent_channels = channels.latent
        self.resolution = resolution
        self.scaling_factor = LATENT_SCALE
        self.encoder = Encoder(shape, channels.image, channels.encoded)
        self.decoder = Decoder(shape, channels.decoded, channels.reconstruction, tanh_out)
        dims = shape.spatial_dims
        self.quant_conv = ConvND(dims, channels.encoded, channels.features, kernel=1)
        self.post_quant_conv = ConvND(dims, channels.latent, channels.decoded, kernel=1)
        if shape.linear_skip:
            self._check_skip(channels)
            code = dct_code(channels.image, shape.factor, channels.latent)
            load_linear_code(self.encoder, self.decoder, code)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return self.shape.factor

    @property
    def full_resolution_width(self) -> int:
        """Most channels that a feature map of the image's own size has, for memory estimates."""
        if not self.shape.has_patches:
            return max(self.shape.channels[:2])
        # A map of the first level holds as many numbers as one of this width would.
        numbers = max(self.shape.channels[0], prod(self.shape.patch) * self.out_channels)
        return -(-numbers // prod(self.shape.patch)) + self.shape.refine_channels + 1

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
        """What the encoder says about the latent of images, before anything is drawn or quantised.

        Args:
            x: ``(B, in_channels, *spatial)`` in model units, sides multiples of the factor.

        Returns:
            ``(B, features, *spatial / factor)``: moments, or the latent before quantisation.

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
        return feature_maps(self.shape, self.latent_channels, self.resolution)

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

    def _check_skip(self, channels: Channels) -> None:
        """Refuse a linear skip whose numbers would not be those of the latent."""
        values = prod(self.shape.factor) * channels.image
        if channels.decoded != channels.latent or channels.encoded != channels.features:
            raise ConfigError(
                f"linear_skip needs z_channels {channels.decoded} equal to embed_dim "
                f"{channels.latent}, and double_z where there are log-variances"
            )
        if channels.latent > values or channels.image != channels.reconstruction:
            raise ConfigError(
                f"linear_skip: {channels.latent} channels of a latent for blocks of {values} "
                f"values, {channels.image} image channels in and {channels.reconstruction} out",
                "take fewer latent channels, and as many image channels out as in",
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
            self._refuse_other(config.model, where)
        load_into(self, load_weights(ckpt_path), where)
        if config is not None:
            self.scaling_factor = config.latent.scaling_factor

    def _refuse_other(self, stored: ModelConfig, where: str) -> None:
        tanh_out = isinstance(self.output_activation, nn.Tanh)
        quantizer = self._modules.get("quantizer")
        refuse_contradictions(self.shape, tanh_out, quantizer, stored, where)
