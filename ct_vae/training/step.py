"""One optimization step of the autoencoder and the discriminator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ct_vae.errors import CtVaeError
from ct_vae.losses.adversarial import Adversary
from ct_vae.losses.objective import Objective
from ct_vae.losses.terms import Weight
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.latent_changes import LatentChanges, transform_pair
from ct_vae.training.optimized_network import OptimizedNetwork, restored_unless_kept
from ct_vae.training.precision import Precision
from ct_vae.training.seeding import seeded_layers
from ct_vae.training.step_metrics import DeviceMeans, MetricAccumulator, StepMetrics, UnreadStep
from ct_vae.training.training_pass import training_pass
from ct_vae.training.whole_batch import WholeBatch

ToModelUnits = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class StepSettings:
    """Numbers of a step.

    Attributes:
        seed: Seed of posterior noise and dropout, which also depend on a sample's index in the run.
        micro_batch: Most samples that go through the network at once.
        most_skipped: Steps in a row that may be skipped before the run stops.
        changes: Changes of latents before decoding.
    """

    seed: int
    micro_batch: int
    most_skipped: int = 10
    changes: LatentChanges = field(default_factory=LatentChanges)


class TrainStep:
    """Forward, backward and update of both networks; steps that are not finite are skipped.

    While the autoencoder trains, the discriminator is frozen; the discriminator gets detached
    reconstructions. Each network has its own gradients.

    With fused optimizers, as on GPUs, the host never waits for the device: a step that is not
    finite is skipped there, and its metrics stay there until `read`.

    Args:
        generator: The autoencoder, in training mode, on its device.
        objective: Training objective.
        settings: Seed and sizes.
        precision: Precision of the networks.
        world: Ranks that share a batch.
        discriminator: Network with an `Adversary` as module; ``None`` to train without one.
        to_model_units: Converts a batch in HU to images in model units on the device; ``None`` to
            use batches unchanged.

    Attributes:
        micro_batch: Samples per micro-batch; halved if a GPU runs out of memory.
        skipped: Number of skipped steps.
        skipped_in_a_row: Number of skipped steps since the last successful one.
        notes: Messages for the user, such as about a smaller micro-batch; the caller empties it.
    """

    def __init__(
        self,
        generator: OptimizedNetwork,
        objective: Objective,
        settings: StepSettings,
        precision: Precision,
        world: DistributedContext,
        discriminator: OptimizedNetwork | None = None,
        to_model_units: ToModelUnits | None = None,
    ) -> None:
        assert isinstance(generator.module, Autoencoder)
        self._model = generator.module
        self.generator = generator
        self.discriminator = discriminator
        self._objective = objective
        self._settings = settings
        self.precision = precision
        self.world = world
        self.to_model_units = to_model_units or (lambda batch: batch)
        self._whole_batch = WholeBatch(
            self._model, objective, precision, world, settings.seed, settings.changes
        )
        self.micro_batch = settings.micro_batch
        self.skipped = 0
        self.skipped_in_a_row = 0
        self._unread: list[tuple[int, torch.Tensor]] = []
        self.notes: list[str] = []

    def __call__(
        self, batch: torch.Tensor, samples_seen: int, lr: float
    ) -> StepMetrics | UnreadStep | None:
        """Train on one batch.

        Args:
            batch: This rank's part ``(B, C, *spatial)`` in HU, in the order of ranks.
            samples_seen: Samples before this batch on all ranks.
            lr: Learning rate of this step.

        Returns:
            Metrics of the step, or ``None`` if it was not finite and has been skipped. With fused
            optimizers a step for `read`.

        Raises:
            InputError: If the number of axes differs from that of the model.
            CtVaeError: If too many steps in a row were not finite, or if one sample does not fit
                into memory.
        """
        images = self.to_model_units(batch)
        while True:
            try:
                with self.precision.backend(), restored_unless_kept(self._networks) as keep:
                    result = self._train_both(images, samples_seen, lr)
                    if result is not None:
                        keep(result.finite if isinstance(result, UnreadStep) else None)
                break
            except torch.OutOfMemoryError:
                self._halve_micro_batch(len(images))
        if isinstance(result, UnreadStep):
            self._unread.append((samples_seen, result.finite))
        else:
            self._count_skipped(result is None, samples_seen)
        return result

    def read(self, result: StepMetrics | UnreadStep | None) -> StepMetrics | None:
        """Return the metrics of the last step, and count the steps that were skipped before it.

        Args:
            result: Result of the last step.

        Returns:
            Metrics of the step, or ``None`` if it was not finite.

        Raises:
            CtVaeError: If too many steps in a row were not finite.
        """
        if not isinstance(result, UnreadStep):
            return result
        places, flags = zip(*self._unread, strict=True)
        self._unread = []
        numbers = [torch.stack(flags).float(), result.grad_norm[None], result.means.values]
        # The only place where the host waits for the device.
        numbers_read = torch.cat(numbers).tolist()
        for place, flag in zip(places, numbers_read, strict=False):
            self._count_skipped(flag == 0, place)
        norm, *means = numbers_read[len(places) :]
        finite = numbers_read[len(places) - 1] == 1
        return StepMetrics.of(result.means.read(means), norm) if finite else None

    def _train_both(
        self, images: torch.Tensor, samples_seen: int, lr: float
    ) -> StepMetrics | UnreadStep | None:
        metrics = MetricAccumulator(len(images))
        parts = torch.split(images, self.micro_batch)
        self.generator.begin(lr)
        index = samples_seen + self.world.rank * len(images)
        fakes = []
        with self._whole_batch(parts, index, samples_seen) as weight:
            for part in parts:
                if part is parts[-1]:
                    self.generator.average_in_next_pass()
                fakes.append(self._generator_backward(part, index, samples_seen, weight, metrics))
                index += len(part)
        networks = [self.generator]
        if self.discriminator is not None and self._adversary.active(samples_seen):
            self.discriminator.begin(lr)
            for real, fake in zip(parts, fakes, strict=True):
                if real is parts[-1]:
                    self.discriminator.average_in_next_pass()
                self._discriminator_backward(self.discriminator, real, fake, samples_seen, metrics)
            networks.append(self.discriminator)
        norms = [network.norm() for network in networks]
        if all(network.is_fused for network in networks):
            return self._apply_if_finite(networks, norms, metrics.on_device(self.world))
        means = metrics.means(self.world)
        # Averaged over the ranks, so that all of them decide equally.
        finite = all(bool(torch.isfinite(n)) for n in norms) and np.isfinite(means["loss"]["total"])
        for network in networks:
            network.step() if finite else network.skip()
        return StepMetrics.of(means, norms[0].item()) if finite else None

    def _apply_if_finite(
        self, networks: Sequence[OptimizedNetwork], norms: list[torch.Tensor], means: DeviceMeans
    ) -> UnreadStep:
        """Update the networks on the device, without waiting for it."""
        finite = torch.stack([*norms, means.value("loss", "total")]).isfinite().all()
        for network in networks:
            network.step_if(finite)
        return UnreadStep(means, norms[0], finite)

    def _generator_backward(
        self,
        images: torch.Tensor,
        index: int,
        samples_seen: int,
        adaptive_weight: Weight | None,
        metrics: MetricAccumulator,
    ) -> torch.Tensor:
        """Run forward and backward of a micro-batch; return the detached reconstruction."""
        seed = self._settings.seed
        with seeded_layers(seed, index, images.device):
            with self.precision.autocast():
                changes = self._settings.changes
                latent, raw = training_pass(self._model, images, seed, index, changes)
                losses = self._objective(
                    raw,
                    images,
                    {**latent.regularizers, **self._equivariance(latent.sample, images, index)},
                    samples_seen,
                    self._model.last_layer,
                    self.world.mean,
                    adaptive_weight,
                )
            self.generator.add(losses.total * (len(images) / metrics.samples))
        reconstruction = self._objective.image(raw.detach())
        error = reconstruction - images
        spread = latent.center.detach().float().std(correction=0)
        metrics.add(
            len(images),
            loss={"total": losses.total},
            losses=losses.values,
            weights=losses.weights,
            codes=latent.codes,
            image={"mae": error.abs().mean(), "mse": error.square().mean(), "latent_std": spread},
        )
        return reconstruction

    def _equivariance(
        self, latent: torch.Tensor, images: torch.Tensor, index: int
    ) -> dict[str, torch.Tensor]:
        """Compute the equivariance term, if it is used."""
        if not self._settings.changes.equivariance:
            return {}
        moved, targets = transform_pair(latent, images, self._settings.seed, index)
        raw = self._model.decode_raw(moved)
        return {"equivariance": self._objective.reconstruction_loss(raw, targets)}

    def _discriminator_backward(
        self,
        discriminator: OptimizedNetwork,
        real: torch.Tensor,
        fake: torch.Tensor,
        samples_seen: int,
        metrics: MetricAccumulator,
    ) -> None:
        """Run forward and backward for a micro-batch of images and detached reconstructions."""
        with self.precision.autocast():
            losses = self._adversary.discriminator_terms(fake, real, samples_seen, self.world.mean)
        discriminator.add(losses.total * (len(real) / metrics.samples))
        metrics.add(len(real), discriminator=losses.values)

    @property
    def _networks(self) -> list[OptimizedNetwork]:
        return [each for each in (self.generator, self.discriminator) if each is not None]

    @property
    def _adversary(self) -> Adversary:
        assert self.discriminator is not None
        assert isinstance(self.discriminator.module, Adversary)
        return self.discriminator.module

    def _halve_micro_batch(self, samples: int) -> None:
        """Halve the micro-batch, or raise an error if that is not possible."""
        self.generator.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        at_once = min(self.micro_batch, samples)
        if self.world.size > 1 or at_once == 1:
            # With several ranks, the others would wait forever.
            raise CtVaeError(
                f"the GPU's memory does not hold {at_once} sample(s) of this size at once",
                "lower training.micro_batch_size or training.patch_size, or set "
                "model.checkpointing",
            ) from None
        self.micro_batch = -(-at_once // 2)
        self.notes.append(
            f"out of GPU memory: from here on {self.micro_batch} samples at once, not {at_once}; "
            "the batch stays the same"
        )

    def _count_skipped(self, skipped: bool, samples_seen: int) -> None:
        if not skipped:
            self.skipped_in_a_row = 0
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= self._settings.most_skipped:
            raise CtVaeError(
                f"{self.skipped_in_a_row} steps in a row were not finite, the last at "
                f"{samples_seen} samples",
                "lower training.lr",
            )
