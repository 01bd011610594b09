"""One optimisation step: the autoencoder, and the discriminator that judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ct_vae.errors import CtVaeError
from ct_vae.losses.adversarial import Adversary
from ct_vae.losses.objective import Objective
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.training.bottleneck import bottleneck
from ct_vae.training.distributed import World
from ct_vae.training.learner import Learner
from ct_vae.training.precision import Precision
from ct_vae.training.tally import Tally


@dataclass(frozen=True)
class StepValues:
    """What a step reports: means over the whole batch, of all ranks.

    Attributes:
        loss: What was minimised.
        values: Terms of the objective by name, unweighted.
        weights: What each term was multiplied by.
        grad_norm: Norm of the autoencoder's gradient before clipping.
        latent_std: Standard deviation of the latent without noise, over all its elements.
        mae: Mean absolute error in model units, whatever the reconstruction loss is.
        mse: Mean squared error in model units.
        codes: How a codebook was used, by name; empty without codes.
        discriminator: Terms of the discriminator by name; empty while it does not play.
    """

    loss: float
    values: dict[str, float]
    weights: dict[str, float]
    grad_norm: float
    latent_std: float
    mae: float
    mse: float
    codes: dict[str, float] = field(default_factory=dict)
    discriminator: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StepSettings:
    """Numbers of a step.

    Attributes:
        seed: Of posterior noise and dropout, which also depend on the place in the run.
        micro_batch: Most samples that go through the network at once.
        most_skipped: Steps in a row that may be left out before the run stops.
    """

    seed: int
    micro_batch: int
    most_skipped: int = 10


class TrainStep:
    """Forward, backward and update of both sides, with steps that are not finite left out.

    In the autoencoder's turn the discriminator is frozen; in the discriminator's it gets detached
    reconstructions. Each side has its own gradients.

    Args:
        generator: The autoencoder, in training mode, on its device.
        objective: What it minimises.
        settings: Seed and sizes.
        precision: In what numbers the networks compute.
        world: Ranks that share a batch.
        discriminator: The other side, of which the module is an `Adversary`, or ``None``.

    Attributes:
        generator: As given.
        discriminator: As given.
        precision: As given.
        world: As given.
        micro_batch: Most samples at once; halved when a GPU runs out of memory.
        skipped: Steps left out so far.
        skipped_in_a_row: Those since the last that was not.
        notes: What happened and must be told, such as a smaller micro-batch; the caller empties it.
    """

    def __init__(
        self,
        generator: Learner,
        objective: Objective,
        settings: StepSettings,
        precision: Precision,
        world: World,
        discriminator: Learner | None = None,
    ) -> None:
        assert isinstance(generator.module, Autoencoder)
        self._model = generator.module
        self.generator = generator
        self.discriminator = discriminator
        self._objective = objective
        self._settings = settings
        self.precision = precision
        self.world = world
        self.micro_batch = settings.micro_batch
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.notes: list[str] = []

    def __call__(self, batch: torch.Tensor, samples_seen: int, lr: float) -> StepValues | None:
        """Learn from one batch.

        Args:
            batch: This rank's share ``(B, C, *spatial)`` in model units; ranks follow each other.
            samples_seen: Samples before this batch, of all ranks.
            lr: Learning rate of this step.

        Returns:
            What happened, or ``None`` when the step was not finite and changed nothing.

        Raises:
            CtVaeError: If too many steps in a row were not finite, or if the memory does not hold
                one sample.
        """
        first = samples_seen + self.world.rank * len(batch)
        while True:
            try:
                with self._undone_unless_kept() as keep:
                    values = self._turns(batch, samples_seen, first, lr)
                    if values is not None:
                        keep()
                break
            except torch.OutOfMemoryError:
                self._halve(len(batch))
        if values is None:
            self._skip(samples_seen)
        else:
            self.skipped_in_a_row = 0
        return values

    def _turns(
        self, batch: torch.Tensor, samples_seen: int, first: int, lr: float
    ) -> StepValues | None:
        parts = torch.split(batch, self.micro_batch)
        tally = Tally(len(batch))
        self.generator.begin(lr)
        images, place = [], first
        for part in parts:
            with _seeded(self._settings.seed, place, batch.device):
                images.append(self._generate(part, samples_seen, place, tally))
            place += len(part)
        norms = [self.generator.norm()]
        other = self._judge(parts, images, samples_seen, lr, tally)
        if other is not None:
            norms.append(other.norm())
        told = tally.means(self.world)
        # Averaged over the ranks, so that all of them decide alike.
        finite = all(bool(torch.isfinite(n)) for n in norms) and np.isfinite(told["loss"]["total"])
        for side in (self.generator, other):
            if side is not None:
                side.step() if finite else side.skip()
        return _report(told, norms[0].item()) if finite else None

    def _generate(
        self, part: torch.Tensor, samples_seen: int, place: int, tally: Tally
    ) -> torch.Tensor:
        """The autoencoder's turn on one micro-batch; gives the detached reconstruction."""
        with self.precision.autocast():
            through = bottleneck(self._model, part, lambda mean: self._noise(mean, place))
            raw = self._model.decode_raw(through.latent)
            terms = self._objective(
                raw,
                part,
                through.regularisers,
                samples_seen,
                self._model.last_layer,
                self.world.mean,
            )
        self.generator.add(terms.total * (len(part) / tally.samples))
        image = self._objective.image(raw.detach())
        error = image - part
        spread = through.centre.detach().float().std(correction=0)
        tally.add(
            len(part),
            loss={"total": terms.total},
            values=terms.values,
            weights=terms.weights,
            codes=through.codes,
            image={"mae": error.abs().mean(), "mse": error.square().mean(), "latent_std": spread},
        )
        return image

    def _judge(
        self,
        parts: Sequence[torch.Tensor],
        images: Sequence[torch.Tensor],
        samples_seen: int,
        lr: float,
        tally: Tally,
    ) -> Learner | None:
        """The discriminator's turn; gives its side if it plays."""
        side = self.discriminator
        if side is None:
            return None
        adversary = side.module
        assert isinstance(adversary, Adversary)
        if not adversary.active(samples_seen):
            return None
        side.begin(lr)
        for real, fake in zip(parts, images, strict=True):
            with self.precision.autocast():
                terms = adversary.discriminator_terms(fake, real, samples_seen, self.world.mean)
            side.add(terms.total * (len(real) / tally.samples))
            tally.add(len(real), discriminator=terms.values)
        return side

    def _noise(self, mean: torch.Tensor, place: int) -> torch.Tensor:
        rows = [
            torch.randn(mean.shape[1:], generator=_generator(self._settings.seed, place + i))
            for i in range(len(mean))
        ]
        return torch.stack(rows).to(mean)

    @contextmanager
    def _undone_unless_kept(self) -> Iterator[Callable[[], None]]:
        """Put buffers back, such as a codebook's averages, when the step is not kept."""
        modules = [s.module for s in (self.generator, self.discriminator) if s is not None]
        buffers = [buffer for module in modules for buffer in module.buffers()]
        before = [buffer.clone() for buffer in buffers]
        kept = False

        def keep() -> None:
            nonlocal kept
            kept = True

        try:
            yield keep
        finally:
            if not kept:
                with torch.no_grad():
                    for buffer, old in zip(buffers, before, strict=True):
                        buffer.copy_(old)

    def _halve(self, samples: int) -> None:
        """Take half as many samples at once, or give up with one clear line."""
        self.generator.optimiser.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        at_once = min(self.micro_batch, samples)
        if self.world.size > 1 or at_once == 1:
            # Ranks that go on alone would wait for each other for ever.
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

    def _skip(self, samples_seen: int) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= self._settings.most_skipped:
            raise CtVaeError(
                f"{self.skipped_in_a_row} steps in a row were not finite, the last at "
                f"{samples_seen} samples",
                "lower training.lr",
            )


def _report(told: Mapping[str, dict[str, float]], grad_norm: float) -> StepValues:
    image = told["image"]
    return StepValues(
        loss=told["loss"]["total"],
        values=told["values"],
        weights=told["weights"],
        grad_norm=grad_norm,
        latent_std=image["latent_std"],
        mae=image["mae"],
        mse=image["mse"],
        codes=told.get("codes", {}),
        discriminator=told.get("discriminator", {}),
    )


@contextmanager
def _seeded(seed: int, place: int, device: torch.device) -> Iterator[None]:
    """Make what layers draw, such as dropout, a function of the seed and the place in the run."""
    drawn = np.random.SeedSequence([seed, place, 1]).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(drawn[0] >> np.uint64(1)))
        yield


def _generator(seed: int, index: int) -> torch.Generator:
    # Mersenne Twister seeds that differ in one bit start with alike states; spread them.
    mixed = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
