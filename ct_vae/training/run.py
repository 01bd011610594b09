"""One training run: the loop, its clock and its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from ct_vae.batch.signals import StopRequest
from ct_vae.config.run import RunConfig
from ct_vae.errors import StoppedError
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.preprocess.pipeline import build_preprocessor
from ct_vae.terminal import say
from ct_vae.training.checkpoints.best import Best, check_patience
from ct_vae.training.checkpoints.checkpoint import Checkpoint, clear_checkpoints, save_checkpoint
from ct_vae.training.checkpoints.content import Content, named_weights
from ct_vae.training.checkpoints.resume import resumed_changes
from ct_vae.training.checkpoints.save_model import ModelSaver, RunFacts, explain_saved, saved_at
from ct_vae.training.checkpoints.state import gather_state, restore_state, shared_checkpoint
from ct_vae.training.data.loader import Batches
from ct_vae.training.data.run_data import RunData
from ct_vae.training.device.augmented import drawn_patches
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.ema import AveragedWeights
from ct_vae.training.initial import set_train_mode, start_linear_skip
from ct_vae.training.optim import learning_rate
from ct_vae.training.reporting.pictures import NEWEST
from ct_vae.training.reporting.progress import Progress
from ct_vae.training.reporting.run_log import METRICS, NoLog, RunLog, rewind_log
from ct_vae.training.reporting.run_outputs import RunOutputs
from ct_vae.training.reporting.run_summary import summarize_run, summary_lines
from ct_vae.training.reporting.trackers import NoTracker, Tracker, build_tracker, check_tracker
from ct_vae.training.step import TrainStep
from ct_vae.training.step_metrics import StepMetrics, UnreadStep
from ct_vae.training.validation.result import summarize
from ct_vae.training.validation.validate import validate

_STATISTICS_BATCHES = 32


class Run:
    """A run and its state; random numbers depend only on the seed and `samples_seen`."""

    def __init__(
        self, config: RunConfig, name: str, folder: Path, step: TrainStep, data: RunData
    ) -> None:
        self.config = config
        self.folder = folder
        self.samples_seen = 0
        self._stop = StopRequest()
        self._world = world = step.world
        self._data = data
        self._settings = data.settings(config)
        keys = {"train": data.keys or (), "val": data.val_keys}
        self._content = Content(data.content, named_weights(config), keys)
        self._hu_per_unit = build_preprocessor(config.preprocess).scale.hu_per_unit
        self._step = step
        self._model = cast(Autoencoder, self._step.generator.module)
        self._ema = AveragedWeights(self._model, config.training.ema_halflife)
        settings = config.training
        check_patience(settings.patience, len(data.validation))
        size, seed = settings.batch_size, settings.seed
        train = drawn_patches(data.train) if settings.augment_on_device else data.train
        workers = settings.workers or 0
        self._batches = Batches(train, settings.samples, size, seed, workers, world)
        cases = data.case_count, data.spacings_mm, len(data.validation), data.val_patches
        facts = RunFacts(config, name, folder, self._settings, *cases)
        self._best = Best(folder, settings.best_by, settings.patience)
        self._saver = ModelSaver(facts, self._best)

    def train(self, resume: bool) -> None:
        """Run to the end, with checkpoints and saved models.

        Args:
            resume: Resume from the newest valid checkpoint of the folder, if there is one.

        Raises:
            StoppedError: If a signal requested a stop; the state has been saved.
            CtVaeError: If too many steps in a row were not finite.
        """
        messages: list[str] = []
        save_due = self._restore(messages.append) if resume else False
        if self.samples_seen == 0:
            self._begin(messages.append)
        quiet = not self._world.is_main_process
        progress = Progress(self.config.training.samples, self.samples_seen, quiet)
        for line in (*messages, *self._plan()):
            progress.say(line)
        # Errors of the tracker are raised before an earlier run is removed.
        tracker = self._tracker(progress.say)
        try:
            if self.samples_seen == 0:
                self._clear()
            with (
                self._stop,
                RunLog(self.folder / METRICS)
                if self._world.is_main_process
                else nullcontext(NoLog()) as log,
                progress,
            ):
                self._go_on(RunOutputs(log, progress, tracker, self._hu_per_unit), save_due)
        finally:
            tracker.close()

    def _begin(self, report: Callable[[str], None]) -> None:
        """Initialize a linear skip as the KLT of the first training patches."""
        config = self.config.model
        if not config.linear_skip or config.ckpt_path is not None:
            return
        start_linear_skip(self._model, map(self._step.to_model_units, self._first_batches()))
        self._ema.module.load_state_dict(self._model.state_dict())
        report(f"initialized the linear skip as the KLT of {_STATISTICS_BATCHES} batches")

    def _first_batches(self) -> Iterator[torch.Tensor]:
        """Return the first patches of the run, the same on all ranks."""
        settings, alone = self.config.training, DistributedContext(device=self._world.device)
        size, seed = settings.batch_size, settings.seed
        batches = Batches(self._data.train, settings.samples, size, seed, world=alone)
        return islice(batches(0), _STATISTICS_BATCHES)

    def check(self, resume: bool) -> None:
        """Make the checks of `train` before its first step, without writing.

        Args:
            resume: As for `train`.

        Raises:
            ConfigError: If the run cannot resume from the newest checkpoint, or if a tracker is
                missing.
            InputError: If all checkpoints are damaged.
        """
        check_tracker(self.config.training.tracker)
        checkpoint = shared_checkpoint(self.folder, self._world, say) if resume else None
        if checkpoint is not None:
            self._changes(checkpoint)

    def _go_on(self, outputs: RunOutputs, save_due: bool) -> None:
        settings = self.config.training
        if save_due:
            self._save(outputs)
        for batch in self._batches(self.samples_seen):
            if self._best.out_of_patience:
                outputs.progress.say(
                    f"the run ends: {settings.patience} validations in a row were no better than "
                    f"that at {self._best.samples_seen} samples"
                )
                break
            before = self.samples_seen
            result = self._advance(batch, outputs)
            last = self.samples_seen >= (settings.stop_after or settings.samples)
            save = last or self._passed(settings.save_every, before)
            stop = self._world.any(self._stop.name is not None)
            log = self._passed(settings.log_every, before)
            checkpoint = save or stop or self._passed(settings.checkpoint_every, before)
            # On GPUs metrics are read only if they are needed, since that makes the host wait.
            if log or checkpoint or not isinstance(result, UnreadStep):
                with explain_saved(self.folder):
                    metrics = self._step.read(result)
                if metrics is not None:
                    outputs.show(self.samples_seen, metrics)
                    if log:
                        lr = learning_rate(settings, before)
                        outputs.log_step(self.samples_seen, metrics, lr, self._step.skipped)
            if checkpoint:
                outputs.log.sync()
                self._checkpoint(save_due=save)
            if stop:
                self._stopped()
            if save:
                self._save(outputs)
            if last:
                break

    def _passed(self, every: int | None, before: int) -> bool:
        return every is not None and self.samples_seen // every > before // every

    def _advance(self, batch: torch.Tensor, outputs: RunOutputs) -> StepMetrics | UnreadStep | None:
        set_train_mode(self._model, self.config.training.freeze)
        lr = learning_rate(self.config.training, self.samples_seen)
        with explain_saved(self.folder):
            result = self._step(batch, self.samples_seen, lr)
        samples = len(batch) * self._world.size
        if result is not None:
            applied = result.finite if isinstance(result, UnreadStep) else None
            self._ema.follow(self._model, self.samples_seen + samples, samples, applied)
        for notes in (self._batches.notes, self._step.notes):
            for note in notes:
                outputs.note(self.samples_seen, note)
            notes.clear()
        self.samples_seen += samples
        return result

    def _save(self, outputs: RunOutputs) -> None:
        cases, world = self._data.validation, self._world
        results = validate(self._averaged, cases, self.config, world, self._stop)
        if self._world.any(self._stop.name is not None):
            self._stopped()
        metrics = summarize(results)
        if metrics:
            self._best.improved(metrics, self.samples_seen)
            outputs.validation(self.samples_seen, metrics)
        if self._world.is_main_process:
            first = (
                self._step.to_model_units(part)
                for batch in self._first_batches()
                for part in torch.split(batch, self._step.micro_batch)
            )
            pictures = [r.picture for r in results if r.picture is not None]
            notes = self._saver.write(
                self._averaged, first, metrics, pictures, self.samples_seen, outputs.log
            )
            for note in notes:
                outputs.progress.say(note)
            if pictures:
                outputs.picture(self.samples_seen, self.folder / NEWEST)

    @property
    def _averaged(self) -> Autoencoder:
        return cast(Autoencoder, self._ema.module)

    def _stopped(self) -> None:
        # The launcher may kill all ranks as soon as one of them ends.
        self._world.barrier()
        raise StoppedError(
            f"stopped by {self._stop.name or 'a signal to another rank'} after "
            f"{self.samples_seen} samples, which are saved in {self.folder}",
            "add --resume to continue",
        )

    def _clear(self) -> None:
        """Remove the results of an earlier run."""
        if self._world.is_main_process:
            self._saver.clear()
            clear_checkpoints(self.folder)
        self._world.barrier()

    def _checkpoint(self, save_due: bool) -> None:
        if not self._world.is_main_process:
            return
        settings = {
            "config": self._compared,
            "content": self._content.as_json(),
            "save_due": save_due,
            "skipped": self._step.skipped,
            "skipped_in_a_row": self._step.skipped_in_a_row,
        }
        state = gather_state(self._step, self._ema)
        save_checkpoint(self.folder, Checkpoint(self.samples_seen, state, settings))

    @property
    def _compared(self) -> dict[str, Any]:
        """Settings that a resumed run is compared with."""
        return {**self._settings, "cases": self._data.cases}

    def _restore(self, report: Callable[[str], None]) -> bool:
        """Restore the newest valid checkpoint; return True if its model is not saved yet."""
        checkpoint = shared_checkpoint(self.folder, self._world, report)
        if checkpoint is None:
            report("no checkpoint to resume from, starting a new run")
            return False
        for line in self._changes(checkpoint):
            report(f"changed since the run began: {line}")
        restore_state(self._step, self._ema, checkpoint.tensors)
        self.samples_seen = checkpoint.samples_seen
        self._step.skipped = checkpoint.settings["skipped"]
        self._step.skipped_in_a_row = checkpoint.settings["skipped_in_a_row"]
        report(f"resuming after {self.samples_seen} samples")
        due = bool(checkpoint.settings["save_due"]) and saved_at(self.folder) != self.samples_seen
        # All ranks must have read the files before the first one changes them.
        self._world.barrier()
        if self._world.is_main_process:
            rewind_log(self.folder / METRICS, self.samples_seen, validated=not due)
        self._world.barrier()
        self._best.recall(self.folder / METRICS)
        return due

    def _changes(self, checkpoint: Checkpoint) -> list[str]:
        samples = self.config.training.samples
        return resumed_changes(checkpoint, samples, self._compared, self._content)

    def _plan(self) -> list[str]:
        cases, name = (self._data.case_count, len(self._data.validation)), self._step.precision.name
        start, world = self.samples_seen, self._world
        return summary_lines(
            summarize_run(self.config, cases, world=world, start=start, precision=name)
        )

    def _tracker(self, say: Callable[[str], None]) -> Tracker:
        if not self._world.is_main_process:
            return NoTracker()
        name, tree = self.config.training.tracker, self.config.as_json()
        return build_tracker(name, self.folder, tree, self.samples_seen, say)
