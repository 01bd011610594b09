"""Memory that a training step takes, counted without computing anything."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from ct_vae.config.run import RunConfig
from ct_vae.losses.build import build_adversary
from ct_vae.models.build import build_untrained

_FLOAT32 = 4
# The gradients that enter and leave a layer, beside all that waits for the way back.
_PASSING_MAPS = 2
_META = torch.device("meta")


class Networks:
    """The networks of a run without their numbers.

    Args:
        config: Of the run.

    Attributes:
        parameters: Of the autoencoder.
        discriminator_parameters: Of the discriminator; 0 without one.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        # Weights that a run begins from change no size.
        bare = config.model.model_copy(update={"ckpt_path": None})
        with _META:
            self._model = build_untrained(bare)
            adversary = build_adversary(config, _META)
        self._discriminator = None if adversary is None else adversary.discriminator
        self.parameters = _count(self._model)
        self.discriminator_parameters = _count(self._discriminator)

    def memory(self, micro_batch: int, batch: int) -> dict[str, int]:
        """Bytes of one rank, by what they are for.

        Activations are what autograd keeps of a forward pass, in float32: with autocast it is
        somewhat less. A perceptual network is not counted, nor what libraries take for themselves.

        Args:
            micro_batch: Patches that go through the networks at once.
            batch: Patches of this rank's batch, of which the reconstructions wait for the
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
            "activations": self._activations(micro_batch),
            "batch": 2 * batch * patch,
        }

    def _activations(self, patches: int) -> int:
        config, model = self._config, self._model
        sides = config.image_size
        latent = [side // f for side, f in zip(sides, config.model.factor, strict=True)]

        def autoencoder() -> None:
            model.features(_map(patches, config.model.in_channels, sides))
            model.decode_raw(_map(patches, config.model.latent_channels, latent))

        kept, largest = _saved_bytes(model, autoencoder)
        if self._discriminator is None:
            return kept + _PASSING_MAPS * largest
        judge = self._discriminator
        image = _map(patches, config.model.out_channels, sides)
        judged, wide = _saved_bytes(judge, lambda: judge(image))
        # The generator is judged once; the discriminator sees real and reconstructed images.
        return max(kept + judged, 2 * judged) + _PASSING_MAPS * max(largest, wide)


def _map(patches: int, channels: int, sides: tuple[int, ...] | list[int]) -> torch.Tensor:
    return torch.zeros(patches, channels, *sides, device=_META, requires_grad=True)


def _saved_bytes(module: nn.Module, forward: Callable[[], object]) -> tuple[int, int]:
    """Bytes that a forward pass keeps for the way back, weights aside, and the largest tensor's."""
    own = {p.untyped_storage()._cdata for p in module.parameters()}
    # Held, so that no other storage gets the same place.
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
