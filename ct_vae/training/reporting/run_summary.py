"""Summary of a run before it begins: sizes, steps, memory and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ct_vae.config.run import RunConfig
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.reporting.bit_rate import bits_per_voxel
from ct_vae.training.reporting.duration import readable_duration
from ct_vae.training.reporting.memory_estimate import Networks
from ct_vae.training.reporting.trial import Trial


@dataclass(frozen=True)
class RunSummary:
    """Properties of a run; bytes are those of one rank.

    Attributes:
        latent_type: ``kl``, ``vq`` or ``magvit``.
        parameters: Number of parameters of the autoencoder.
        discriminator_parameters: Number of parameters of the discriminator; 0 without one.
        factor: Voxels per latent voxel along each axis.
        patch: Size of a training patch in voxels.
        latent: Shape of its latent, channels first.
        compression: Ratio of the numbers of image and latent values.
        bits_per_voxel: Bits of the latent on disk per voxel.
        train_cases: Number of training cases.
        val_cases: Number of validation cases.
        samples: Length of the run in samples.
        start: Samples seen before, in a resumed run.
        batch_size: Patches per step on all ranks.
        ranks: Number of processes.
        micro_batch: Patches per micro-batch.
        precision: Precision of the networks.
        workers: Processes per rank that prepare patches.
        memory_ranks: Number of ranks that share the memory of a machine or GPU.
        memory: Estimated bytes by purpose.
        trial: Measurement of trial steps; ``None`` without trial.
    """

    latent_type: str
    parameters: int
    discriminator_parameters: int
    factor: tuple[int, ...]
    patch: tuple[int, ...]
    latent: tuple[int, ...]
    compression: float
    bits_per_voxel: float
    train_cases: int
    val_cases: int
    samples: int
    start: int
    batch_size: int
    ranks: int
    micro_batch: int
    precision: str
    workers: int
    memory_ranks: int
    memory: dict[str, int]
    trial: Trial | None

    @property
    def steps(self) -> int:
        """Number of remaining steps."""
        return math.ceil((self.samples - self.start) / self.batch_size)

    @property
    def micro_batches(self) -> int:
        """Micro-batches per step on a rank."""
        return math.ceil(self.batch_size / self.ranks / self.micro_batch)

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of a step on a rank."""
        return sum(self.memory.values())

    @property
    def seconds(self) -> float | None:
        """Time of the remaining steps, without validations and waiting for data."""
        return None if self.trial is None else self.steps * self.trial.seconds

    def as_dict(self) -> dict[str, Any]:
        """Return all properties for JSON."""
        derived = {
            "steps": self.steps,
            "micro_batches": self.micro_batches,
            "memory_bytes": self.memory_bytes,
            "seconds": self.seconds,
        }
        return asdict(self) | derived


def summarize_run(
    config: RunConfig,
    cases: tuple[int, int],
    *,
    world: DistributedContext | None = None,
    start: int = 0,
    precision: str = "fp32",
    trial: Trial | None = None,
) -> RunSummary:
    """Summarize a run without allocating weights or reading files.

    Args:
        config: Configuration of the run.
        cases: Numbers of training and validation cases.
        world: Processes that share a batch; defaults to one on a CPU.
        start: Samples seen before, in a resumed run.
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``.
        trial: Measurement of trial steps.
    """
    model, training = config.model, config.training
    world = world or DistributedContext()
    share = math.ceil(training.batch_size / world.size)
    micro_batch = min(training.micro_batch_size or share, share)
    networks = Networks(config, precision, world.device.type)
    sides = (side // f for side, f in zip(config.image_size, model.factor, strict=True))
    return RunSummary(
        latent_type=model.latent_type,
        parameters=networks.parameters,
        discriminator_parameters=networks.discriminator_parameters,
        factor=model.factor,
        patch=config.image_size,
        latent=(model.latent_channels, *sides),
        compression=model.compression,
        bits_per_voxel=bits_per_voxel(model),
        train_cases=cases[0],
        val_cases=cases[1],
        samples=training.samples,
        start=start,
        batch_size=training.batch_size,
        ranks=world.size,
        # Every rank has a separate GPU.
        memory_ranks=world.ranks_on_machine if world.device.type == "cpu" else 1,
        micro_batch=micro_batch,
        precision=precision,
        workers=training.workers or 0,
        memory=networks.memory(micro_batch, share),
        trial=trial,
    )


def summary_lines(plan: RunSummary) -> list[str]:
    """Format a summary, one property per line."""
    facts = {
        "model": _model(plan),
        "latent": f"{_sides(plan.patch)} voxels become {_sides(plan.latent)} "
        f"(factor {_sides(plan.factor)})",
        "compression": f"{plan.compression:.4g} : 1 in numbers, {plan.bits_per_voxel:.3g} bits "
        "per voxel on disk",
        "cases": f"{plan.train_cases} for training, {plan.val_cases} for validation",
        "step": f"{_batch(plan)}, computed in {plan.precision}{_workers(plan)}",
        "run": _run(plan),
        "memory": _memory(plan),
        "time": _time(plan),
    }
    width = max(map(len, facts))
    return [f"{name:{width}}  {text}" for name, text in facts.items()]


def _model(plan: RunSummary) -> str:
    text = f"{plan.latent_type}, {_millions(plan.parameters)} parameters"
    if plan.discriminator_parameters:
        text += f"; discriminator, {_millions(plan.discriminator_parameters)}"
    return text


def _batch(plan: RunSummary) -> str:
    factors = {"ranks": plan.ranks, "micro-batches": plan.micro_batches}
    parts = [f"{count} {name}" for name, count in factors.items() if count > 1]
    divided = f": {' x '.join(parts)} of {plan.micro_batch}" if parts else ""
    return f"{plan.batch_size} patches{divided}"


def _workers(plan: RunSummary) -> str:
    if not plan.workers:
        return ""
    each = " on each rank" if plan.ranks > 1 else ""
    return f"; patches are prepared by {plan.workers} process{'es' * (plan.workers > 1)}{each}"


def _run(plan: RunSummary) -> str:
    rest = f", of which {plan.start} are done" if plan.start else ""
    return f"{plan.steps} steps to {plan.samples} samples{rest}"


def _memory(plan: RunSummary) -> str:
    parts = ", ".join(f"{name} {_size(size)}" for name, size in plan.memory.items() if size)
    each = " on each rank" if plan.ranks > 1 else ""
    text = f"about {_size(plan.memory_bytes)}{each} ({parts})"
    if plan.memory_ranks > 1:
        together = _size(plan.memory_ranks * plan.memory_bytes)
        text += f"; {together} for the {plan.memory_ranks} ranks on this machine"
    if plan.trial is not None and plan.trial.peak_bytes is not None:
        text += f"; a measured step took {_size(plan.trial.peak_bytes)}"
    return text


def _time(plan: RunSummary) -> str:
    if plan.trial is None or plan.seconds is None:
        return "unknown; --dry-run measures some steps"
    trial = plan.trial
    return (
        f"about {readable_duration(plan.seconds)} at {trial.seconds:.3g} s per step (median of "
        f"{trial.steps}, {trial.fastest:.3g} to {trial.slowest:.3g} s), without validations and "
        "waiting for data"
    )


def _sides(numbers: Sequence[int]) -> str:
    return " x ".join(map(str, numbers))


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} million"


def _size(number: int) -> str:
    gib, mib = number / 2**30, number / 2**20
    if gib >= 1:
        return f"{gib:.1f} GiB"
    return f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"
