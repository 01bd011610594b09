"""Saving a run: log line, images, model folder and best model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.run import RunConfig
from ct_vae.errors import CtVaeError, WeightsError
from ct_vae.io.atomic.file import write_json, write_text
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.model_folder import remove_model, save_model_folder
from ct_vae.models.weights import own_config
from ct_vae.training.checkpoints.best import Best
from ct_vae.training.latent_statistics import measure_latent
from ct_vae.training.reporting.model_card import TrainingSummary, model_card
from ct_vae.training.reporting.pictures import clear_pictures, draw_pictures
from ct_vae.training.reporting.run_log import METRICS, NoLog, RunLog
from ct_vae.training.reporting.validation_picture import CasePicture

SETTINGS = "train_config.json"


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Constant facts of a run.

    Attributes:
        config: Configuration of the run.
        name: Name of the run.
        folder: Run folder.
        settings: The configuration as JSON, without paths.
        train_cases: Number of training cases.
        spacings_mm: Spacings of training cases; empty if unknown.
        val_cases: Number of validation cases.
        val_patches: True if these are patches instead of volumes.
    """

    config: RunConfig
    name: str
    folder: Path
    settings: dict[str, Any]
    train_cases: int
    spacings_mm: Sequence[tuple[float, float, float]]
    val_cases: int
    val_patches: bool


class ModelSaver:
    """Writes the results of a save into the run folder: log line, images, model, best model.

    Args:
        facts: Facts of the run.
        best: Best validation so far.
    """

    def __init__(self, facts: RunFacts, best: Best) -> None:
        self._facts = facts
        self._best = best

    def clear(self) -> None:
        """Remove the results of an earlier run.

        Raises:
            OutputError: If a file cannot be removed.
        """
        remove_model(self._facts.folder)
        self._best.clear()
        clear_pictures(self._facts.folder)
        write_text(self._facts.folder / METRICS, "")

    def write(
        self,
        model: Autoencoder,
        images: Iterable[torch.Tensor],
        metrics: dict[str, float],
        pictures: Sequence[CasePicture],
        samples_seen: int,
        log: RunLog | NoLog,
    ) -> list[str]:
        """Log a validation, then write images, and last the model, which completes the save.

        Args:
            model: Model in evaluation mode.
            images: Training images in model units, for the statistics of the latent.
            metrics: Metrics of the last validation; empty without one.
            pictures: Slices of the first validation cases.
            samples_seen: Samples seen by the run.
            log: Log of the run.

        Returns:
            A line for each image that could not be drawn.

        Raises:
            OutputError: If a file cannot be written.
        """
        if metrics:
            log.write({"samples_seen": samples_seen, **metrics})
            log.sync()
        folder = self._facts.folder
        notes = draw_pictures(folder, folder / METRICS, pictures, samples_seen)
        latent = measure_latent(model, images)
        if self._best.samples_seen == samples_seen:
            self._write_model(self._best.folder, model, latent, metrics, samples_seen)
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
            # The path of initial weights is not part of the architecture.
            model=run.model.model_copy(update={"ckpt_path": None}),
            preprocess=run.preprocess,
            inference=run.inference,
            latent=latent,
            samples_seen=samples_seen,
        )
        summary = TrainingSummary(
            parameters=sum(p.numel() for p in model.parameters()),
            train_cases=facts.train_cases,
            val_cases=facts.val_cases,
            val_patches=facts.val_patches,
            patch=run.image_size,
            objective=run.training,
            spacings_mm=facts.spacings_mm,
            last=metrics,
            best=self._best.metrics,
            best_samples=self._best.samples_seen,
        )
        write_json(facts.folder / SETTINGS, facts.settings)
        texts = {"ct_vae_run": json.dumps(facts.settings)}
        save_model_folder(folder, model, config, model_card(config, summary), texts)


def saved_at(folder: Path) -> int | None:
    """Return the samples seen by the model in a run folder; ``None`` without a valid model."""
    try:
        config = own_config(folder)
    except WeightsError:
        return None
    return None if config is None else config.samples_seen


@contextmanager
def explain_saved(folder: Path) -> Iterator[None]:
    """Add to the errors of steps in the context which model of the run folder is kept."""
    try:
        yield
    except CtVaeError as error:
        # The classes derived from it are not about steps.
        if type(error) is not CtVaeError:
            raise
        where = saved_at(folder)
        last = "nothing was saved" if where is None else f"the model of {where} samples is kept"
        raise CtVaeError(error.cause, f"{error.hint}; {last}") from error
