"""Quantities of losses and quantizers that depend on the whole batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from ct_vae.losses.objective import Objective
from ct_vae.losses.terms import Weight
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.latent_changes import LatentChanges
from ct_vae.training.precision import Precision
from ct_vae.training.seeding import seeded_layers
from ct_vae.training.training_pass import training_pass


class WholeBatch:
    """Makes the result of a step independent of the split into micro-batches.

    The entropy loss of lookup-free codes and the adaptive adversarial weight are not means over
    samples, so they need an additional forward pass of the whole batch before the first gradient:
    of the encoder for the entropy loss, and of all networks for the adaptive weight. Only one
    micro-batch is in memory at a time. An EMA codebook is updated once after all micro-batches.

    Args:
        model: The autoencoder.
        objective: Training objective.
        precision: Precision of the networks.
        world: Ranks that share a batch.
        seed: Seed of the run.
        changes: Changes of latents before decoding.
    """

    def __init__(
        self,
        model: Autoencoder,
        objective: Objective,
        precision: Precision,
        world: DistributedContext,
        seed: int,
        changes: LatentChanges,
    ) -> None:
        self._model = model
        self._objective = objective
        self._precision = precision
        self._world = world
        self._seed = seed
        self._changes = changes

    @contextmanager
    def __call__(
        self, parts: Sequence[torch.Tensor], index: int, samples_seen: int
    ) -> Iterator[Weight | None]:
        """Compute the quantities of a batch, whose micro-batches are trained inside the context.

        Args:
            parts: Micro-batches ``(B, C, *spatial)`` of this rank in model units.
            index: Index of the first sample in the run.
            samples_seen: Samples before this batch on all ranks.

        Yields:
            The adaptive adversarial weight; ``None`` without one, or for a single micro-batch.
        """
        if len(parts) == 1:
            yield None
        elif isinstance(self._model, QuantizedAutoencoder):
            quantizer, latents = self._model.quantizer, []
            if quantizer.looks_ahead:
                latents = self._features(parts, index)
            with quantizer.whole_batch(latents):
                yield self._adaptive_weight(parts, index, samples_seen)
        else:
            yield self._adaptive_weight(parts, index, samples_seen)

    @torch.no_grad()
    def _features(self, parts: Sequence[torch.Tensor], index: int) -> list[torch.Tensor]:
        features = []
        for part in parts:
            with seeded_layers(self._seed, index, part.device), self._precision.autocast():
                features.append(self._model.features(part))
            index += len(part)
        return features

    def _adaptive_weight(
        self, parts: Sequence[torch.Tensor], index: int, samples_seen: int
    ) -> Weight | None:
        adversary = self._objective.adversary
        if adversary is None or not self._objective.is_adaptive(samples_seen):
            return None
        last_layer, total = self._model.last_layer, sum(map(len, parts))
        gradients = []
        with _only_trained(self._model, last_layer):
            for part in parts:
                with seeded_layers(self._seed, index, part.device), self._precision.autocast():
                    _, raw = training_pass(self._model, part, self._seed, index, self._changes)
                    found = self._objective.layer_gradients(raw, part, samples_seen, last_layer)
                gradients.append(found * (len(part) / total))
                index += len(part)
        return adversary.ratio(self._world.mean(torch.stack(gradients).sum(0)))


@contextmanager
def _only_trained(model: Autoencoder, layer: torch.Tensor) -> Iterator[None]:
    """Compute gradients of one layer only, and do not update a codebook."""
    frozen = [p for p in model.parameters() if p.requires_grad and p is not layer]
    quantizer = model.quantizer if isinstance(model, QuantizedAutoencoder) else nn.Identity()
    training = quantizer.training
    for parameter in frozen:
        parameter.requires_grad_(False)
    quantizer.eval()
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        quantizer.train(training)
