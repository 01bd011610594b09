"""One training run: the loop, its clock and its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from ct_vae.batch.signals import StopRequest
from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError, CtVaeError, StoppedError
from ct_vae.io.atomic.file import write_text
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.linear_code import BlockKLT, load_linear_code
from ct_vae.models.model_folder import remove_model
from ct_vae.preprocess.build import build_preprocessor
from ct_vae.training.checkpoints.checkpoint import Checkpoint, clear_checkpoints, save_checkpoint
from ct_vae.training.checkpoints.resume import changes
from ct_vae.training.checkpoints.save import Results, RunFacts, saved_at
from ct_vae.training.checkpoints.state import gather_state, restore_state, shared_checkpoint
from ct_vae.training.data.loader import Batches
from ct_vae.training.data.run_data import RunData
from ct_vae.training.distributed import World
from ct_vae.training.ema import AveragedWeights
from ct_vae.training.optim import learning_rate
from ct_vae.training.reporting.pictures import clear_pictures
from ct_vae.training.reporting.progress import Progress
from ct_vae.training.reporting.run_log import METRICS, NoLog, RunLog, rewind_log
from ct_vae.training.reporting.run_summary import build_plan, plan_lines
from ct_vae.training.reporting.trackers import NoTracker, Tracker, build_tracker
from ct_vae.training.step import StepValues, TrainStep
from ct_vae.training.validation import summarise

_STATISTICS_BATCHES = 32


class Run:
    """A run and all its state; the clock is `samples_seen`, which decides everything drawn."""

    def __init__(
        self, config: RunConfig, name: str, folder: Path, step: TrainStep, data: RunData
    ) -> None:
        self.config = config
        self.folder = folder
        self.samples_seen = 0
        self._world = world = step.world
        self._data = data
        self._settings = data.settings(config)
        self._hu_per_unit = build_preprocessor(config.preprocess).scale.hu_per_unit
        self._step = step
        self._model = cast(Autoencoder, self._step.generator.module)
        self._ema = AveragedWeights(self._model, config.training.ema_halflife)
        settings = config.training
        if settings.patience is not None and not data.validation:
            raise ConfigError(
                f"training.patience {settings.patience} waits for validations, and there is no "
                "validation case",
                "name some, or leave patience out",
            )
        self._batches = Batches(
            data.train,
            settings.samples,
            settings.batch_size,
            settings.seed,
            settings.workers,
            world,
        )
        facts = RunFacts(
            config,
            name,
            folder,
            self._settings,
            data.case_count,
            data.spacings_mm,
            data.validation,
        )
        self._results = Results(facts, world)

    def train(self, resume: bool) -> None:
        """Run to the end, saving state and model on the way and when done.

        Args:
            resume: Go on from the newest whole state of the folder, if there is one.

        Raises:
            StoppedError: If a signal asked for it; the state has been saved.
            CtVaeError: If too many steps in a row were not finite.
        """
        told: list[str] = []
        save_due = self._restore(told.append) if resume else False
        if self.samples_seen == 0:
            self._begin(told.append)
        quiet = not self._world.first
        progress = Progress(self.config.training.samples, self.samples_seen, quiet)
        for line in (*told, *self._plan()):
            progress.say(line)
        # One that cannot be had is told before an earlier run is cleared away.
        tracker = self._tracker(progress.say)
        try:
            if self.samples_seen == 0:
                self._clear()
            with (
                StopRequest() as stop,
                RunLog(self.folder / METRICS) if self._world.first else nullcontext(NoLog()) as log,
                progress,
            ):
                self._go_on(Outlets(log, progress, tracker, stop), save_due)
        finally:
            tracker.close()

    def _begin(self, report: Callable[[str], None]) -> None:
        """Let a linear skip begin as the KLT of the first training patches."""
        config = self.config.model
        if not config.linear_skip or config.ckpt_path is not None:
            return
        klt = BlockKLT(config.factor)
        for batch in self._first_batches():
            klt.add(self._results.model_units(batch))
        load_linear_code(self._model.encoder, self._model.decoder, klt.fit(config.embed_dim))
        self._ema.module.load_state_dict(self._model.state_dict())
        report(f"the linear skip begins as the KLT of {_STATISTICS_BATCHES} batches of patches")

    def _first_batches(self) -> Iterator[torch.Tensor]:
        """The patches with which the run begins, the same on all ranks."""
        settings, alone = self.config.training, World(device=self._world.device)
        size, seed = settings.batch_size, settings.seed
        batches = Batches(self._data.train, settings.samples, size, seed, world=alone)
        return islice(batches(0), _STATISTICS_BATCHES)

    def _go_on(self, outlets: Outlets, save_due: bool) -> None:
        settings = self.config.training
        if save_due:
            self._save(outlets)
        for batch in self._batches(self.samples_seen):
            if self._results.finished:
                outlets.progress.say(
                    f"the run ends: {settings.patience} validations in a row were no better than "
                    f"that at {self._results.best.samples_seen} samples"
                )
                break
            before = self.samples_seen
            values = self._advance(self._results.model_units(batch), outlets)
            if values is not None:
                self._tell(values, before, outlets)
            last = self.samples_seen >= (settings.stop_after or settings.samples)
            save = last or self._passed(settings.save_every, before)
            stop = self._world.any(outlets.stop.name is not None)
            if save or stop or self._passed(settings.checkpoint_every, before):
                outlets.log.sync()
                self._checkpoint(save_due=save)
            if stop:
                self._stopped(outlets)
            if save:
                self._save(outlets)
            if last:
                break

    def _passed(self, every: int | None, before: int) -> bool:
        return every is not None and self.samples_seen // every > before // every

    def _advance(self, batch: torch.Tensor, outlets: Outlets) -> StepValues | None:
        self._model.train()
        if self.config.training.freeze == "encoder":
            for part in self._model.encoding_parts().values():
                part.eval()
        lr = learning_rate(self.config.training, self.samples_seen)
        try:
            values = self._step(batch, self.samples_seen, lr)
        except CtVaeError as error:
            if type(error) is not CtVaeError:
                raise
            where = saved_at(self.folder)
            last = "nothing was saved" if where is None else f"the model of {where} samples is kept"
            raise CtVaeError(error.cause, f"{error.hint}; {last}") from error
        samples = len(batch) * self._world.size
        if values is not None:
            self._ema.follow(self._model, self.samples_seen + samples, samples)
        for notes in (self._batches.notes, self._step.notes):
            for note in notes:
                outlets.progress.say(note)
                outlets.log.write({"samples_seen": self.samples_seen, "note": note})
            notes.clear()
        self.samples_seen += samples
        return values

    def _tell(self, values: StepValues, before: int, outlets: Outlets) -> None:
        outlets.progress.show(self.samples_seen, values, self._hu_per_unit)
        if not self._passed(self.config.training.log_every, before):
            return
        line = {
            "loss": values.loss,
            "mae_hu": values.mae * self._hu_per_unit,
            **values.values,
            **{f"{name}_weight": weight for name, weight in values.weights.items()},
            **values.codes,
            **values.discriminator,
            "grad_norm": values.grad_norm,
            "latent_std": values.latent_std,
            "lr": learning_rate(self.config.training, before),
            "skipped_steps": self._step.skipped,
        }
        outlets.log.write({"samples_seen": self.samples_seen, **line})
        outlets.tracker.write(line, self.samples_seen)

    def _save(self, outlets: Outlets) -> None:
        results = self._results.validate(self._averaged, outlets.stop)
        if self._world.any(outlets.stop.name is not None):
            self._stopped(outlets)
        metrics = summarise(results)
        if metrics:
            self._results.best.improved(metrics, self.samples_seen)
            outlets.progress.note(self.samples_seen, metrics)
            outlets.tracker.write(metrics, self.samples_seen)
        if self._world.first:
            first = (
                part
                for batch in self._first_batches()
                for part in torch.split(batch, self._step.micro_batch)
            )
            pictures = [r.picture for r in results if r.picture is not None]
            notes = self._results.write(
                self._averaged, first, metrics, pictures, self.samples_seen, outlets.log
            )
            for note in notes:
                outlets.progress.say(note)

    @property
    def _averaged(self) -> Autoencoder:
        return cast(Autoencoder, self._ema.module)

    def _stopped(self, outlets: Outlets) -> None:
        # Whoever started the ranks may end all of them as soon as one has gone.
        self._world.wait()
        raise StoppedError(
            f"stopped by {outlets.stop.name or 'a signal to another rank'} at "
            f"{self.samples_seen} samples, all saved in {self.folder}",
            "--resume goes on from there",
        )

    def _clear(self) -> None:
        """Take away what an earlier run has left, which would pass for results of this one."""
        if self._world.first:
            remove_model(self.folder)
            self._results.best.clear()
            clear_checkpoints(self.folder)
            clear_pictures(self.folder)
            write_text(self.folder / METRICS, "")
        self._world.wait()

    def _checkpoint(self, save_due: bool) -> None:
        if not self._world.first:
            return
        settings = {
            "config": self._compared,
            "save_due": save_due,
            "skipped": self._step.skipped,
            "skipped_in_a_row": self._step.skipped_in_a_row,
        }
        state = gather_state(self._step, self._ema)
        save_checkpoint(self.folder, Checkpoint(self.samples_seen, state, settings))

    @property
    def _compared(self) -> dict[str, Any]:
        """What a run that goes on is compared with."""
        return {**self._settings, "cases": self._data.cases}

    def _restore(self, report: Callable[[str], None]) -> bool:
        """Take up the newest whole state; gives whether its model has still to be saved."""
        checkpoint = shared_checkpoint(self.folder, self._world, report)
        if checkpoint is None:
            report("there is no state to resume from: the run begins")
            return False
        if checkpoint.samples_seen > self.config.training.samples:
            raise ConfigError(
                f"training.samples {self.config.training.samples}: the run has seen "
                f"{checkpoint.samples_seen} already",
                "choose at least as many",
            )
        for line in changes(checkpoint.settings["config"], self._compared):
            report(f"changed since the run began: {line}")
        restore_state(self._step, self._ema, checkpoint.tensors)
        self.samples_seen = checkpoint.samples_seen
        self._step.skipped = checkpoint.settings["skipped"]
        self._step.skipped_in_a_row = checkpoint.settings["skipped_in_a_row"]
        report(f"the run goes on after {self.samples_seen} samples")
        due = bool(checkpoint.settings["save_due"]) and saved_at(self.folder) != self.samples_seen
        # All ranks have read what the first one is about to change.
        self._world.wait()
        if self._world.first:
            rewind_log(self.folder / METRICS, self.samples_seen, validated=not due)
        self._world.wait()
        self._results.recall()
        return due

    def _plan(self) -> list[str]:
        plan = build_plan(
            self.config,
            (self._data.case_count, len(self._data.validation)),
            ranks=self._world.size,
            start=self.samples_seen,
            precision=self._step.precision.name,
        )
        return plan_lines(plan)

    def _tracker(self, say: Callable[[str], None]) -> Tracker:
        if not self._world.first:
            return NoTracker()
        name, tree = self.config.training.tracker, self.config.as_json()
        return build_tracker(name, self.folder, tree, self.samples_seen, say)


@dataclass(frozen=True, eq=False)
class Outlets:
    """Where a run tells of itself, and where it is told to stop."""

    log: RunLog | NoLog
    progress: Progress
    tracker: Tracker
    stop: StopRequest
