"""Estimate of the memory of a training step on the meta device."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ct_vae.config.run import RunConfig
from ct_vae.losses.build import build_adversary
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.vgg import VGG16
from ct_vae.models.build import build_untrained
from ct_vae.training.precision import DTYPES

_FLOAT32 = 4
# Gradients of the input and output of one layer, in addition to saved tensors.
_PASSING_MAPS = 2
_META = torch.device("meta")


class Networks:
    """The networks of a run on the meta device.

    Args:
        config: Configuration of the run.
        precision: Precision of the networks: ``fp32``, ``bf16`` or ``fp16``.
        device: Type of the device, ``cpu`` or ``cuda``, which affects the precision of saved
            tensors.

    Attributes:
        parameters: Number of parameters of the autoencoder.
        discriminator_parameters: Number of parameters of the discriminator; 0 without one.
    """

    def __init__(self, config: RunConfig, precision: str = "fp32", device: str = "cpu") -> None:
        self._config = config
        dtype = DTYPES.get(precision)
        self._cast = nullcontext() if dtype is None else _AutocastOnMeta(dtype, device == "cuda")
        # Initial weights do not affect sizes.
        bare = config.model.model_copy(update={"ckpt_path": None})
        with _META:
            self._model = build_untrained(bare)
            adversary = build_adversary(config, _META)
            self._vgg = VGG16() if config.training.perceptual_weight > 0 else None
        self._discriminator = None if adversary is None else adversary.discriminator
        self.parameters = _count(self._model)
        self.discriminator_parameters = _count(self._discriminator)

    def memory(self, micro_batch: int, batch: int) -> dict[str, int]:
        """Return the bytes of one rank by purpose.

        Activations are the tensors that autograd saves in a forward pass, in the precision of the
        run. Internal memory of libraries is not included.

        Args:
            micro_batch: Patches per micro-batch.
            batch: Patches of this rank's batch, whose reconstructions are kept for the
                discriminator.
        """
        weights = _FLOAT32 * (self.parameters + self.discriminator_parameters)
        averaged = self._config.training.ema_halflife > 0
        patch = _FLOAT32 * math.prod(self._config.image_size) * self._config.model.in_channels
        return {
            "weights": weights,
            "gradients": weights,
            "moments": 2 * weights,
            "average": _FLOAT32 * self.parameters if averaged else 0,
            # The frozen network computes in float32.
            "perceptual network": _FLOAT32 * _count(self._vgg),
            "activations": self._activations(micro_batch),
            "batch": 2 * batch * patch,
        }

    def _activations(self, patches: int) -> int:
        config, model = self._config, self._model
        sides = config.image_size
        latent = [side // f for side, f in zip(sides, config.model.factor, strict=True)]

        def autoencoder() -> None:
            with self._cast:
                model.features(_map(patches, config.model.in_channels, sides))
                model.decode_raw(_map(patches, config.model.latent_channels, latent))

        kept, largest = _saved_bytes(model, autoencoder)
        kept += self._perceptual(patches)
        if self._discriminator is None:
            return kept + _PASSING_MAPS * largest
        judge = self._discriminator
        image = _map(patches, config.model.out_channels, sides)

        def discriminator() -> None:
            with self._cast:
                judge(image)

        judged, wide = _saved_bytes(judge, discriminator)
        # The generator's step needs the discriminator once, the discriminator's step twice.
        return max(kept + judged, 2 * judged) + _PASSING_MAPS * max(largest, wide)

    def _perceptual(self, patches: int) -> int:
        """Return the bytes that the perceptual distance saves, always in float32."""
        if self._vgg is None:
            return 0
        config, network = self._config, self._vgg
        share = config.training.perceptual_share
        distance = PerceptualDistance(network, config.preprocess.model_range, share)
        sizes = (patches, config.model.out_channels, config.image_size)
        image, target = _map(*sizes), _map(*sizes)
        return _saved_bytes(network, lambda: distance(image, target, 0))[0]


class _AutocastOnMeta(TorchFunctionMode):
    """Casts like autocast, which the meta device does not support.

    Args:
        dtype: Type of convolutions, matrix products and attention.
        wide_norms: Normalize in float32, as on GPUs.
    """

    _LOWER = re.compile(r"conv(_transpose)?[123]d|linear|matmul|bmm|baddbmm|scaled_dot_product.*")
    _WIDE = re.compile(r"(group|layer|rms)_norm|softmax")

    def __init__(self, dtype: torch.dtype, wide_norms: bool) -> None:
        super().__init__()
        self._dtype, self._wide_norms = dtype, wide_norms

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs, name = kwargs or {}, func.__name__
        dtype = self._dtype if self._LOWER.fullmatch(name) else None
        if self._wide_norms and self._WIDE.fullmatch(name):
            dtype = torch.float32
        if dtype is None:
            return func(*args, **kwargs)

        def cast(value: Any) -> Any:
            floats = isinstance(value, torch.Tensor) and value.is_floating_point()
            return value.to(dtype) if floats else value

        return func(*map(cast, args), **{name: cast(value) for name, value in kwargs.items()})


def _map(patches: int, channels: int, sides: tuple[int, ...] | list[int]) -> torch.Tensor:
    return torch.zeros(patches, channels, *sides, device=_META, requires_grad=True)


def _saved_bytes(module: nn.Module, forward: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a forward pass saves, without weights, and the largest tensor's."""
    own = {p.untyped_storage()._cdata for p in module.parameters()}
    # Kept alive, so that no other storage gets the same address.
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    sizes = [storage.nbytes() for storage in kept.values()]
    return sum(sizes), max(sizes, default=0)


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())
