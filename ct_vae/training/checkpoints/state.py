"""Conversion of the networks and optimizers of a run to a flat dictionary of tensors and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from ct_vae.errors import ConfigError, InputError
from ct_vae.training.checkpoints.checkpoint import Checkpoint, newest_checkpoint
from ct_vae.training.checkpoints.save_model import saved_at
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.optimized_network import OptimizedNetwork
from ct_vae.training.step import TrainStep


def gather_state(step: TrainStep, ema: AveragedModel) -> dict[str, torch.Tensor]:
    """Collect parameters, buffers, moments and averages by name."""
    tensors = {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for name, side in _sides(step).items():
        tensors |= {f"{name}.module.{k}": v for k, v in side.module.state_dict().items()}
        tensors |= {f"{name}.optimiser.{k}": v for k, v in side.state().items()}
    return tensors


def restore_state(step: TrainStep, ema: AveragedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore the result of `gather_state`."""
    ema.load_state_dict(_below("ema.", tensors))
    for name, side in _sides(step).items():
        side.module.load_state_dict(_below(f"{name}.module.", tensors))
        side.load_state(_below(f"{name}.optimiser.", tensors))


def shared_checkpoint(
    folder: Path, world: DistributedContext, report: Callable[[str], None]
) -> Checkpoint | None:
    """Return the newest valid checkpoint of a run folder, or ``None`` if it is empty.

    Raises:
        ConfigError: If there is a model, but no checkpoint.
        InputError: If all checkpoints are damaged, or if ranks see different ones.
    """
    checkpoint = newest_checkpoint(folder, report)
    reached = world.gather([None if checkpoint is None else checkpoint.samples_seen])
    if len(set(reached)) > 1:
        raise InputError(
            f"{folder}: ranks see checkpoints of {reached} samples",
            "train on a file system that all machines share",
        )
    if checkpoint is None and saved_at(folder) is not None:
        raise ConfigError(
            f"{folder} contains a model but no checkpoint to resume from",
            "set another training.output_dir, or add --overwrite to replace it",
        )
    return checkpoint


def _sides(step: TrainStep) -> dict[str, OptimizedNetwork]:
    sides = {"generator": step.generator, "discriminator": step.discriminator}
    return {name: side for name, side in sides.items() if side is not None}


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
