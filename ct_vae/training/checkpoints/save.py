"""What a run leaves behind at a save: validation, pictures, model folder, best model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ct_vae.batch.signals import StopRequest
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.run import RunConfig
from ct_vae.errors import InputError, WeightsError
from ct_vae.inference.tiling import Tiling
from ct_vae.io.atomic.file import write_json
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.model_folder import save_model_folder
from ct_vae.models.weights import own_config
from ct_vae.preprocess.build import build_preprocessor
from ct_vae.training.build import memory_format
from ct_vae.training.checkpoints.best import Best
from ct_vae.training.distributed import World
from ct_vae.training.latent_statistics import measure_latent
from ct_vae.training.reporting.model_card import TrainingSummary, model_card
from ct_vae.training.reporting.pictures import draw_pictures
from ct_vae.training.reporting.run_log import METRICS, NoLog, RunLog, is_validation, read_log
from ct_vae.training.reporting.validation_picture import PICTURED_CASES, CasePicture
from ct_vae.training.validation import CaseResult, make_codec, validate_case
from ct_vae.volume import Volume

SETTINGS = "train_config.json"


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What does not change in a run.

    Attributes:
        config: Of the run.
        name: Of the run.
        folder: Of the run.
        settings: The configuration as JSON, without paths.
        train_cases: Number of training cases.
        spacings_mm: Of training cases; empty where they are not known.
        validation: Each gives a whole volume.
    """

    config: RunConfig
    name: str
    folder: Path
    settings: dict[str, Any]
    train_cases: int
    spacings_mm: Sequence[tuple[float, float, float]]
    validation: Sequence[Callable[[], Volume]]


class Results:
    """Judges the averaged model and writes it.

    Args:
        facts: Of the run.
        world: Ranks that share the validation cases; the first one writes.

    Attributes:
        best: The best validation so far, the same on all ranks.
    """

    def __init__(self, facts: RunFacts, world: World) -> None:
        self.best = Best(facts.folder, facts.config.training.best_by)
        self._facts = facts
        self._world = world
        self._preprocessor = build_preprocessor(facts.config.preprocess)

    @property
    def finished(self) -> bool:
        """Whether validations have not become better for as long as the configuration waits."""
        patience = self._facts.config.training.patience
        return patience is not None and self.best.since >= patience

    def model_units(self, batch: torch.Tensor) -> torch.Tensor:
        """Images ``(B, C, *spatial)`` in HU as the network takes them, on its device.

        Raises:
            InputError: If they have another number of axes.
        """
        model = self._facts.config.model
        if batch.ndim != model.spatial_dims + 2:
            raise InputError(
                f"training images have a channel axis and {model.spatial_dims} sides, got shape "
                f"{tuple(batch.shape[1:])}"
            )
        # A model with several image channels gets the grey value in each.
        copies = model.in_channels if batch.shape[1] == 1 else 1
        units = self._preprocessor.scale.to_model(batch.to(self._world.device))
        repeated = units.repeat_interleave(copies, dim=1)
        return repeated.contiguous(memory_format=memory_format(model.spatial_dims))

    def validate(self, model: Autoencoder, stop: StopRequest) -> list[CaseResult]:
        """Send every validation case through the model; ranks take turns.

        Returns:
            Results of all cases in their order, on every rank; not of all when asked to stop.
        """
        model.eval()
        if not self._facts.validation:
            return []
        wishes = self._facts.config.inference
        tiling = Tiling(wishes.tiling, wishes.tile, wishes.overlap, wishes.max_memory_gb)
        codec = make_codec(model, self._preprocessor, tiling)
        own = []
        for number in range(self._world.rank, len(self._facts.validation), self._world.size):
            if stop.name is not None:
                break
            volume = self._facts.validation[number]()
            own.append((number, validate_case(codec, volume, pictured=number < PICTURED_CASES)))
        together = self._world.gather(own)
        return [result for _, result in sorted(together, key=lambda pair: pair[0])]

    def recall(self) -> None:
        """Take up what the log says about earlier validations."""
        for line in read_log(self._facts.folder / METRICS):
            if is_validation(line):
                metrics = {k: float(v) for k, v in line.items() if k.startswith("val_")}
                self.best.improved(metrics, line["samples_seen"])

    def write(
        self,
        model: Autoencoder,
        batches: Iterable[torch.Tensor],
        metrics: dict[str, float],
        pictures: Sequence[CasePicture],
        samples_seen: int,
        log: RunLog | NoLog,
    ) -> list[str]:
        """Log a validation, then write pictures and the model, which says that the save is done.

        Args:
            model: In evaluation mode.
            batches: Training patches in HU that tell of the latent.
            metrics: Of the validation that `best` has judged last; empty without one.
            pictures: Slices of its first cases.
            samples_seen: The run's clock.
            log: Of the run.

        Returns:
            A line about each picture that could not be drawn.

        Raises:
            OutputError: If something cannot be written.
        """
        if metrics:
            log.write({"samples_seen": samples_seen, **metrics})
            log.sync()
        folder = self._facts.folder
        notes = draw_pictures(folder, folder / METRICS, pictures, samples_seen)
        latent = measure_latent(model, map(self.model_units, batches))
        if self.best.samples_seen == samples_seen:
            self._write_model(self.best.folder, model, latent, metrics, samples_seen)
        self._write_model(folder, model, latent, metrics, samples_seen)
        return notes

    def _write_model(
        self,
        folder: Path,
        model: Autoencoder,
        latent: LatentConfig,
        metrics: dict[str, float],
        samples_seen: int,
    ) -> None:
        facts, run = self._facts, self._facts.config
        config = ModelFolderConfig(
            name=facts.name,
            # Where the weights came from is a path, and no part of the architecture.
            model=run.model.model_copy(update={"ckpt_path": None}),
            preprocess=run.preprocess,
            inference=run.inference,
            latent=latent,
            samples_seen=samples_seen,
        )
        summary = TrainingSummary(
            parameters=sum(p.numel() for p in model.parameters()),
            train_cases=facts.train_cases,
            val_cases=len(facts.validation),
            patch=run.image_size,
            objective=run.training,
            spacings_mm=facts.spacings_mm,
            last=metrics,
            best=self.best.metrics,
            best_samples=self.best.samples_seen,
        )
        write_json(facts.folder / SETTINGS, facts.settings)
        texts = {"ct_vae_run": json.dumps(facts.settings)}
        save_model_folder(folder, model, config, model_card(config, summary), texts)


def saved_at(folder: Path) -> int | None:
    """Samples that the model in a run folder had seen; ``None`` if there is no whole one."""
    try:
        config = own_config(folder)
    except WeightsError:
        return None
    return None if config is None else config.samples_seen
