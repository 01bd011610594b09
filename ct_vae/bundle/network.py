"""Networks with one input and one output tensor, for bundles and exports."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import nn
from torch.jit._trace import TracerWarning

from ct_vae.bundle.portable import make_portable
from ct_vae.config.load import parse_config
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.build import build_untrained
from ct_vae.models.model_folder import LoadedModel
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.hu_scale import HounsfieldScale

Part = Literal["reconstruct", "encode", "decode"]


class AutoencoderPart(nn.Module):
    """Base class of deterministic networks; all have the same parameter names.

    Args:
        model: Autoencoder.
        scale: Map between HU and model units, for images in HU; ``None`` for images in model units.

    Attributes:
        image_channels: Number of image channels; 1 for images in HU, which are copied to all input
            channels of the model, and whose output channels are averaged.
        hu_per_unit: HU per unit of the images.
    """

    halves: tuple[str, ...]

    def __init__(self, model: Autoencoder, scale: HounsfieldScale | None = None) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.image_channels = model.in_channels if scale is None else 1
        self.hu_per_unit = 1.0

    def latent(self, image: torch.Tensor) -> torch.Tensor:
        """Return posterior means or quantized latents of an image ``(B, C, *spatial)``."""
        return self.between(self.model.features(self.entering(image)))

    def between(self, features: torch.Tensor) -> torch.Tensor:
        """Return posterior means or quantized latents of the output of the encoder."""
        if isinstance(self.model, QuantizedAutoencoder):
            quantized = self.model.quantizer(features)
            return quantized if isinstance(quantized, torch.Tensor) else quantized.latent
        return DiagonalGaussian(features).mode()

    def image(self, latent: torch.Tensor) -> torch.Tensor:
        """Decode an unscaled latent to an image ``(B, image_channels, *spatial)``."""
        return self.leaving(self.model.decode(latent))

    def leaving(self, decoded: torch.Tensor) -> torch.Tensor:
        """Convert the output of the decoder to an image ``(B, image_channels, *spatial)``."""
        if self.scale is None:
            return decoded
        units = decoded.mean(1, keepdim=True) if decoded.shape[1] > 1 else decoded
        return _mapped(units, self.scale.model_range, self.scale.window_hu)

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """Return an example input with ``blocks`` latent voxels per axis."""
        raise NotImplementedError

    def __prepare_scriptable__(self) -> nn.Module:
        """Return a trace for ``torch.jit.script``, which is valid for any supported size."""
        return _Traced(traced(self))

    def entering(self, image: torch.Tensor) -> torch.Tensor:
        """Convert an image ``(B, image_channels, *spatial)`` to the input of the encoder."""
        if self.scale is None:
            return image
        units = _mapped(image.float(), self.scale.window_hu, self.scale.model_range)
        return units.expand(-1, self.model.in_channels, *(-1,) * (image.ndim - 2))

    def _ramp(self, blocks: Sequence[int]) -> torch.Tensor:
        low, high = (-1.0, 1.0) if self.scale is None else self.scale.window_hu
        sides = [n * f for n, f in zip(blocks, self.model.factor, strict=True)]
        line = torch.linspace(low, high, sides[0]).view(-1, *(1,) * (len(sides) - 1))
        ramp = line.expand(1, self.image_channels, *sides)
        # Noise reveals spatial shifts, which a ramp along one axis would hide.
        noise = torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0))
        return (ramp + 0.05 * (high - low) * noise).clamp(low, high)


class ReconstructionNet(AutoencoderPart):
    """Network from image to reconstruction, with posterior means or codes."""

    halves = ("encode", "decode")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Reconstruct ``(B, image_channels, *spatial)``, a multiple of the factor in size."""
        return self.image(self.latent(image))

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """Return an example image: a ramp with noise."""
        return self._ramp(blocks)


class EncoderNet(AutoencoderPart):
    """Network from image to unscaled latent: posterior means or quantized."""

    halves = ("encode",)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Encode ``(B, image_channels, *spatial)`` to ``(B, latent_channels, *spatial / f)``."""
        return self.latent(image)

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """Return an example image: a ramp with noise."""
        return self._ramp(blocks)


class DecoderNet(AutoencoderPart):
    """Network from unscaled latent to image."""

    halves = ("decode",)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Decode ``(B, latent_channels, *spatial)`` to ``(B, image_channels, *spatial * f)``."""
        return self.image(latent)

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """Return an example latent: that of a ramp with noise."""
        with torch.inference_mode():
            latent = self.latent(self._ramp(blocks))
        return latent.clone()


_PARTS: dict[str, type[AutoencoderPart]] = {
    "reconstruct": ReconstructionNet,
    "encode": EncoderNet,
    "decode": DecoderNet,
}


def build_part(
    part: Part,
    model: dict[str, Any],
    preprocess: dict[str, Any] | None = None,
    hounsfield: bool = True,
) -> AutoencoderPart:
    """Build a network with random weights, into which ``models/model.pt`` of a bundle is loaded.

    Args:
        part: ``reconstruct``, ``encode`` or ``decode``.
        model: Section ``model`` of a configuration.
        preprocess: Section ``preprocess`` of a configuration.
        hounsfield: True for images in HU, False for model units.

    Raises:
        ConfigError: If the part is unknown or a section is invalid.
    """
    config = parse_config({"model": model, "preprocess": preprocess or {}}, "network_def")
    return part_of(part, build_untrained(config.model), config.preprocess, hounsfield)


def load_part(part: Part, loaded: LoadedModel, hounsfield: bool = True) -> AutoencoderPart:
    """Return a part of a trained model, in evaluation mode."""
    return part_of(part, loaded.model, loaded.config.preprocess, hounsfield)


def part_of(
    part: Part, model: Autoencoder, preprocess: PreprocessConfig, hounsfield: bool = True
) -> AutoencoderPart:
    """Wrap a model as a network with one input and one output.

    Raises:
        ConfigError: If the part is unknown.
    """
    if part not in _PARTS:
        raise ConfigError(f"a part is {', '.join(_PARTS)}, got {part!r}")
    scale = HounsfieldScale(preprocess.window_hu, preprocess.model_range)
    network = _PARTS[part](model, scale if hounsfield else None)
    network.hu_per_unit = 1.0 if hounsfield else scale.hu_per_unit
    return network.eval()


def portable(part: AutoencoderPart) -> AutoencoderPart:
    """Return a copy in evaluation mode that uses only operations supported by all formats."""
    copied = deepcopy(part).eval()
    make_portable(copied.model)
    return copied


def traced(part: AutoencoderPart) -> torch.jit.ScriptModule:
    """Trace a part to TorchScript; sizes may be any multiples of the factor."""
    example = part.example((3,) * part.model.spatial_dims)
    part = portable(part)
    with torch.no_grad(), warnings.catch_warnings():
        # TorchScript is deprecated and still taken by many; checks of sides are constants of a
        # trace, and the traced network is compared on others.
        warnings.simplefilter("ignore", TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        result: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            part, example.to(next(part.parameters()).device)
        )
    return result


class _Traced(nn.Module):
    """Wrapper of a trace that can be scripted."""

    def __init__(self, traced: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.traced(x)
        return result


def _mapped(x: torch.Tensor, here: tuple[float, float], there: tuple[float, float]) -> torch.Tensor:
    """Apply the linear map of `HounsfieldScale` with operations supported by all formats."""
    share = (x.clamp(*here) - here[0]) / (here[1] - here[0])
    return share * (there[1] - there[0]) + there[0]
