"""Common base class of all autoencoders."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from math import prod
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.config.default_models import find_model
from ct_vae.config.model import ModelConfig
from ct_vae.errors import InputError
from ct_vae.models.compatibility import check_compatible
from ct_vae.models.decoder import Decoder
from ct_vae.models.encoder import Encoder
from ct_vae.models.layers import Layers
from ct_vae.models.linear_code import dct_code, load_linear_code
from ct_vae.models.stages import Stage, feature_maps
from ct_vae.models.weights import load_into, load_weights, own_config

if TYPE_CHECKING:
    from ct_vae.config.model_folder import ModelFolderConfig

LATENT_SCALE = 0.18215


class UntrainedWarning(UserWarning):
    """Warning that a model has random weights."""


class Autoencoder(nn.Module, ABC):
    """Base class of autoencoders: encoder, 1-wide convolutions around the latent, and decoder.

    Parameter names are those of CompVis (Rombach et al. 2022). Subclasses define the latent.

    Args:
        config: Validated and complete architecture.

    Attributes:
        config: Architecture of the network, as given.
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the reconstruction.
        latent_channels: Channels of the latent.
        resolution: Side of the image for which `describe` reports sizes.
        scaling_factor: One over the latent's standard deviation; 0.18215 until measured.
        shift_factor: Value that is subtracted from latents before scaling; 0 except for converted
            models that have one, such as Stable Diffusion 3.
        pretrained_config: Preprocessing and latent statistics that `from_pretrained` has read.
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
        self.shift_factor = 0.0
        self.pretrained_config: ModelFolderConfig | None = None
        layers = Layers(config)
        self.encoder = Encoder(layers)
        self.decoder = Decoder(layers)
        dims, latent = config.spatial_dims, config.latent_channels
        self.quant_conv = ConvND(dims, config.encoder_channels, config.feature_channels, kernel=1)
        self.post_quant_conv = ConvND(dims, latent, config.z_channels, kernel=1)
        if config.linear_skip:
            code = dct_code(config.in_channels, config.factor, latent)
            load_linear_code(self.encoder, self.decoder, code)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, **download: Any
    ) -> Self:
        """Load a trained model in evaluation mode.

        Args:
            source: Model folder, name of a default model, repository of the Hugging Face Hub such
                as ``organization/name``, or address ``hf://organization/name@revision``, to which
                ``#sha256=digest`` can be added. A folder of that name is preferred to a repository.
            revision: Branch, tag or commit of a repository; optional.
            download: ``cache_dir``, ``force_download``, ``local_files_only`` and ``token`` of
                ``huggingface_hub``.

        Raises:
            WeightsError: If the model cannot be loaded or downloaded, or is of another class.
        """
        return cast("Self", _hub().from_pretrained(cls, source, revision, **download))

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write a model folder; options are those of `ct_vae.models.hub.save_pretrained`.

        Args:
            folder: Folder, created if missing.
            options: ``config`` with preprocessing and latent statistics, and ``license``.

        Raises:
            OutputError: If a file cannot be written.
        """
        _hub().save_pretrained(self, folder, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model; options are those of `ct_vae.models.hub.push_to_hub`.

        Args:
            repo_id: Repository of the Hugging Face Hub, created if missing.
            options: ``config``, ``license``, ``commit_message``, ``private``, ``token``, ``branch``
                and ``create_pr``.

        Returns:
            URL of the commit.

        Raises:
            OutputError: If the upload fails.
        """
        return cast("str", _hub().push_to_hub(self, repo_id, **options))

    def __repr__(self) -> str:
        """Return a summary; ``print(model.encoder)`` and ``model.describe()`` list the layers."""
        return f"{type(self).__name__}({', '.join(self._summary())})"

    def _summary(self) -> list[str]:
        count = sum(p.numel() for p in self.parameters())
        return [
            f"{self.spatial_dims}-D",
            f"factor {' x '.join(map(str, self.factor))}",
            f"{self.latent_channels} latent channels",
            f"{self.in_channels} image channel{'' if self.in_channels == 1 else 's'}",
            f"{count:,} parameters",
        ]

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return self.config.factor

    @property
    def full_resolution_width(self) -> int:
        """Largest number of channels of a feature map at full resolution, for memory estimates."""
        config, voxels = self.config, prod(self.config.patch_sides)
        if not config.has_patches:
            return max(config.widths[:2])
        # Express the size of a map of the first level as channels at full resolution.
        numbers = max(config.widths[0], voxels * config.out_channels)
        return -(-numbers // voxels) + config.refine_channels + 1

    @property
    def output_activation(self) -> nn.Module:
        """Activation that converts the output of `decode_raw` to model units."""
        return self.decoder.activation

    @property
    def last_layer(self) -> torch.Tensor:
        """Weights of the last convolution, for the adaptive weight of an adversarial loss."""
        parameters = self.decoder.conv_out.named_parameters()
        return next(value for name, value in parameters if name.endswith("weight"))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the encoder output before sampling or quantization.

        Args:
            x: Images ``(B, in_channels, *spatial)`` in model units; sizes are multiples of the
                factor.

        Returns:
            Moments of the posterior, or the latent before quantization, ``(B, features, *spatial /
            factor)``.

        Raises:
            InputError: If the number of channels or a size is invalid.
        """
        self._check(x, self.in_channels, self.factor)
        result: torch.Tensor = self.quant_conv(self.encoder(x))
        return result

    def decode(self, z: torch.Tensor, denorm: bool = False) -> torch.Tensor:
        """Decode latents to images.

        Args:
            z: Latents ``(B, latent_channels, *spatial)``, unscaled unless ``denorm`` is set.
            denorm: If true, divide the latents by `scaling_factor` and add `shift_factor` first;
                defaults to false.

        Returns:
            Images ``(B, out_channels, *spatial * factor)`` in model units.

        Raises:
            InputError: If the number of channels or dimensions is invalid.
        """
        self._check(z, self.latent_channels, (1,) * self.spatial_dims)
        result: torch.Tensor = self.decoder(
            self._decoder_input(z / self.scaling_factor + self.shift_factor if denorm else z)
        )
        return result

    def decode_raw(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents without the output activation.

        Args:
            z: Latents ``(B, latent_channels, *spatial)``.

        Returns:
            Raw output ``(B, out_channels, *spatial * factor)``, logits for a sigmoid.
            `output_activation` converts it to the result of `decode`.

        Raises:
            InputError: If the number of channels or dimensions is invalid.
        """
        self._check(z, self.latent_channels, (1,) * self.spatial_dims)
        return self.decoder.raw(self._decoder_input(z))

    def encoding_parts(self) -> dict[str, nn.Module]:
        """Return the modules that determine the latent of an image, by name."""
        names = ("encoder", "quant_conv", "quantizer")
        return {name: self._modules[name] for name in names if self._modules.get(name) is not None}  # type: ignore[misc]

    @abstractmethod
    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return unscaled latents for MONAI's latent inferers, which scale by themselves."""

    @abstractmethod
    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Decode unscaled latents for MONAI's latent inferers."""

    def describe(self) -> list[Stage]:
        """Return the feature maps from image to latent and back, in order of computation."""
        return feature_maps(self.config)

    def _normalized(self, latent: torch.Tensor) -> torch.Tensor:
        """Shift and scale a latent to about unit standard deviation."""
        return (latent - self.shift_factor) * self.scaling_factor

    def _decoder_input(self, z: torch.Tensor) -> torch.Tensor:
        """Convert latents of any precision to the input of the decoder."""
        # Posteriors are computed in float32 or higher, independent of the model's precision.
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
                "pad the image, or use ct_vae.load_codec, which pads volumes",
            )

    def _start(self, ckpt_path: str | Path | None) -> None:
        """Load the initial weights or warn that they are random; called last by constructors."""
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
            self.shift_factor = config.latent.shift_factor


def _hub() -> ModuleType:
    # The module builds models of all classes, so this one must not depend on it.
    return import_module("ct_vae.models.hub")
