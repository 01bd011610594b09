"""Networks of one tensor in and one out, as bundles and exports want them."""

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
    """A deterministic way through a model; all parts have the same parameters and names.

    Args:
        model: The whole autoencoder.
        scale: Between HU and model units, so that images are in HU; ``None`` leaves them in model
            units.

    Attributes:
        image_channels: Of the images: 1 in HU, as the grey value goes into every channel of the
            model and its outputs are averaged.
        hu_per_unit: HU that a unit of the images spans.
    """

    halves: tuple[str, ...]

    def __init__(self, model: Autoencoder, scale: HounsfieldScale | None = None) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.image_channels = model.in_channels if scale is None else 1
        self.hu_per_unit = 1.0

    def latent(self, image: torch.Tensor) -> torch.Tensor:
        """Posterior means, or the quantised latent, of ``(B, image_channels, *spatial)``."""
        return self.between(self.model.features(self.entering(image)))

    def between(self, features: torch.Tensor) -> torch.Tensor:
        """Posterior means, or the quantised latent, of what the encoder gives."""
        if isinstance(self.model, QuantizedAutoencoder):
            quantized = self.model.quantizer(features)
            return quantized if isinstance(quantized, torch.Tensor) else quantized.latent
        return DiagonalGaussian(features).mode()

    def image(self, latent: torch.Tensor) -> torch.Tensor:
        """Image ``(B, image_channels, *spatial)`` of an unscaled latent."""
        return self.leaving(self.model.decode(latent))

    def leaving(self, decoded: torch.Tensor) -> torch.Tensor:
        """Image ``(B, image_channels, *spatial)`` of what the decoder gives."""
        if self.scale is None:
            return decoded
        units = decoded.mean(1, keepdim=True) if decoded.shape[1] > 1 else decoded
        return _mapped(units, self.scale.model_range, self.scale.window_hu)

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """An input of so many latent voxels per axis: a ramp over the HU window, or a latent."""
        raise NotImplementedError

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` takes instead: a trace, which holds for any such sides."""
        return _Traced(traced(self))

    def entering(self, image: torch.Tensor) -> torch.Tensor:
        """What the encoder takes, of ``(B, image_channels, *spatial)``."""
        if self.scale is None:
            return image
        units = _mapped(image.float(), self.scale.window_hu, self.scale.model_range)
        return units.expand(-1, self.model.in_channels, *(-1,) * (image.ndim - 2))

    def _ramp(self, blocks: Sequence[int]) -> torch.Tensor:
        low, high = (-1.0, 1.0) if self.scale is None else self.scale.window_hu
        sides = [n * f for n, f in zip(blocks, self.model.factor, strict=True)]
        line = torch.linspace(low, high, sides[0]).view(-1, *(1,) * (len(sides) - 1))
        ramp = line.expand(1, self.image_channels, *sides)
        # Noise makes an error of place visible, which a ramp along one axis would hide.
        noise = torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0))
        return (ramp + 0.05 * (high - low) * noise).clamp(low, high)


class ReconstructionNet(AutoencoderPart):
    """Image to reconstruction through posterior means, or through codes."""

    halves = ("encode", "decode")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Reconstruct ``(B, image_channels, *spatial)``, sides multiples of the factor."""
        return self.image(self.latent(image))

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """An image: a ramp with noise."""
        return self._ramp(blocks)


class EncoderNet(AutoencoderPart):
    """Image to unscaled latent: posterior means, or quantised."""

    halves = ("encode",)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Encode ``(B, image_channels, *spatial)`` to ``(B, latent_channels, *spatial / f)``."""
        return self.latent(image)

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """An image: a ramp with noise."""
        return self._ramp(blocks)


class DecoderNet(AutoencoderPart):
    """Unscaled latent to image."""

    halves = ("decode",)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Decode ``(B, latent_channels, *spatial)`` to ``(B, image_channels, *spatial * f)``."""
        return self.image(latent)

    def example(self, blocks: Sequence[int]) -> torch.Tensor:
        """The latent of a ramp with noise."""
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
    """A part with random weights, for ``models/model.pt`` of a bundle to be loaded into.

    Args:
        part: Which way.
        model: Section ``model`` of a configuration.
        preprocess: Section ``preprocess``.
        hounsfield: Whether images are in HU.

    Raises:
        ConfigError: If there is no such part, or a section is wrong.
    """
    config = parse_config({"model": model, "preprocess": preprocess or {}}, "network_def")
    return part_of(part, build_untrained(config.model), config.preprocess, hounsfield)


def load_part(part: Part, loaded: LoadedModel, hounsfield: bool = True) -> AutoencoderPart:
    """A part of a trained model, in evaluation mode."""
    return part_of(part, loaded.model, loaded.config.preprocess, hounsfield)


def part_of(
    part: Part, model: Autoencoder, preprocess: PreprocessConfig, hounsfield: bool = True
) -> AutoencoderPart:
    """Wrap a model.

    Raises:
        ConfigError: If there is no such part.
    """
    if part not in _PARTS:
        raise ConfigError(f"a part is {', '.join(_PARTS)}, got {part!r}")
    scale = HounsfieldScale(preprocess.window_hu, preprocess.model_range)
    network = _PARTS[part](model, scale if hounsfield else None)
    network.hu_per_unit = 1.0 if hounsfield else scale.hu_per_unit
    return network.eval()


def portable(part: AutoencoderPart) -> AutoencoderPart:
    """A copy, in evaluation mode, in operations that every format knows."""
    copied = deepcopy(part).eval()
    make_portable(copied.model)
    return copied


def traced(part: AutoencoderPart) -> torch.jit.ScriptModule:
    """TorchScript that takes any sides that are multiples of the factor."""
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
    """A trace as a module that can be scripted."""

    def __init__(self, traced: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.traced(x)
        return result


def _mapped(x: torch.Tensor, here: tuple[float, float], there: tuple[float, float]) -> torch.Tensor:
    """The linear map of `HounsfieldScale`, in operations that every format knows."""
    share = (x.clamp(*here) - here[0]) / (here[1] - here[0])
    return share * (there[1] - there[0]) + there[0]
