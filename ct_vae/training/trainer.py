"""The training run: data in, model folder out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from ct_vae.config.load import load_config
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.run import RunConfig
from ct_vae.datasets.cases import Split, build_split
from ct_vae.datasets.order import SeededOrder
from ct_vae.datasets.patches import PatchDataset
from ct_vae.errors import ConfigError, InputError
from ct_vae.inference.device import pick_device
from ct_vae.io.atomic import write_json, write_text
from ct_vae.losses.objective import Objective
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.model_folder import save_model_folder
from ct_vae.models.weights import WEIGHTS
from ct_vae.preprocess.build import build_preprocessor
from ct_vae.training.best import BEST, Best
from ct_vae.training.ema import build_ema
from ct_vae.training.initial import initial_model
from ct_vae.training.latent_statistics import measure_latent
from ct_vae.training.model_card import model_card
from ct_vae.training.optim import build_optimiser, learning_rate
from ct_vae.training.progress import Progress
from ct_vae.training.redact import redacted
from ct_vae.training.run_log import RunLog
from ct_vae.training.step import StepValues, TrainStep
from ct_vae.training.validation import validate
from ct_vae.volume import Volume

METRICS = "metrics.jsonl"
SETTINGS = "train_config.json"
_STATISTICS_BATCHES = 32
_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def train(
    train_dataset: Dataset[Any] | None,
    config: str | Path | RunConfig,
    val_dataset: Sequence[Volume] | None = None,
    device: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Train an autoencoder and write it as a model folder.

    Args:
        train_dataset: Items are patches in HU, ``[C, *spatial]`` tensors or dictionaries with one
            under ``"image"``, sides multiples of the factor; ``None`` takes the volumes that the
            configuration names.
        config: A run configuration, or its JSON file.
        val_dataset: Whole volumes to validate on; ``None`` takes those that the configuration
            names, when it is also the source of the training data.
        device: Such as ``cuda:0``; ``None`` takes a GPU if there is one.
        name: Of the run; ``None`` means the name of the configuration file.
        overwrite: Begin anew in a folder that holds a run.

    Returns:
        The run folder, which is a model folder.

    Raises:
        ConfigError: If the configuration cannot be run, or if the folder holds a run already.
        InputError: If a volume is refused.
        OutputError: If the run folder cannot be written.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config)
    title = name or (Path(config).stem if not isinstance(config, RunConfig) else "run")
    folder = Path(settings.training.output_dir or Path("runs") / title)
    if not overwrite:
        _refuse_used(folder)
    split = build_split(settings.data) if train_dataset is None else Split([], [])
    where = pick_device(device)
    validation = list(val_dataset) if val_dataset is not None else [c.load() for c in split.val]
    if train_dataset is None:
        train_dataset = _patches(settings, split)
    Run(settings, title, folder, where, train_dataset, validation).train()
    return folder


class Run:
    """One training run and all its state; the clock is `samples_seen`."""

    def __init__(
        self,
        config: RunConfig,
        name: str,
        folder: Path,
        device: torch.device,
        data: Dataset[Any],
        validation: Sequence[Volume],
    ) -> None:
        self.config = config
        self.name = name
        self.folder = folder
        self.samples_seen = 0
        self._best = Best(folder)
        self._data = data
        self._validation = validation
        self._device = device
        self._preprocessor = build_preprocessor(config.preprocess)
        self._model = initial_model(config.model, config.training.seed)
        # Convolutions of few channels run up to 1.5 times faster with channels last, on a CPU too.
        self._memory_format = _CHANNELS_LAST.get(config.model.spatial_dims, torch.contiguous_format)
        self._model.to(device, memory_format=self._memory_format)  # type: ignore[call-overload]
        self._ema = build_ema(self._model, config.training.ema_decay)
        optimiser = build_optimiser(self._model.parameters(), config.training)
        self._weights = {
            "kl": config.training.kl_weight,
            "commitment": config.training.commitment_weight,
            "entropy": config.training.entropy_weight,
        }
        objective = Objective(config.training.recon_type, self._weights)
        self._step = TrainStep(
            self._model, optimiser, objective, config.training.grad_clip, config.training.seed
        )

    def train(self) -> None:
        """Run to the end, saving the model on the way and when done."""
        settings = self.config.training
        # What an earlier run has left would pass for results of this one.
        self._best.clear()
        write_text(self.folder / METRICS, "")
        next_log, next_save = settings.log_every, settings.save_every
        with RunLog(self.folder / METRICS) as log, Progress(settings.samples) as progress:
            for batch in self._batches(0):
                values = self._advance(batch)
                if values is not None:
                    hu = self._preprocessor.scale.hu_per_unit
                    progress.show(self.samples_seen, values, hu)
                    if self.samples_seen >= next_log:
                        next_log += settings.log_every
                        log.write(self._line(values))
                if next_save <= self.samples_seen < settings.samples:
                    next_save += settings.save_every
                    self._save(log, progress)
            self._save(log, progress)

    def _advance(self, batch: torch.Tensor) -> StepValues | None:
        self._model.train()
        lr = learning_rate(self.config.training, self.samples_seen)
        values = self._step(batch, self.samples_seen, lr)
        if values is not None:
            self._ema.update_parameters(self._model)
        self.samples_seen += len(batch)
        return values

    def _batches(self, start: int) -> Iterator[torch.Tensor]:
        settings = self.config.training
        order: Any = range(start, settings.samples)
        if not isinstance(self._data, PatchDataset):
            size = len(self._data)  # type: ignore[arg-type]
            order = SeededOrder(size, settings.samples, settings.seed, start)
        loader = DataLoader(
            self._data,
            batch_size=settings.batch_size,
            sampler=order,
            collate_fn=stack_images,
            # Without one of its own it would draw from the caller's random state.
            generator=torch.Generator(),
        )
        for batch in loader:
            # A model with several image channels gets the grey value in each.
            copies = self.config.model.in_channels if batch.shape[1] == 1 else 1
            units = self._preprocessor.scale.to_model(batch.to(self._device))
            repeated = units.repeat_interleave(copies, dim=1)
            yield repeated.contiguous(memory_format=self._memory_format)

    def _line(self, values: StepValues) -> dict[str, float | int]:
        lr = learning_rate(self.config.training, self.samples_seen)
        return {
            "samples_seen": self.samples_seen,
            "loss": values.loss,
            "reconstruction": values.reconstruction,
            "mae_hu": values.mae * self._preprocessor.scale.hu_per_unit,
            **values.regularisers,
            **{f"{name}_weight": self._weights[name] for name in values.regularisers},
            **values.codes,
            "grad_norm": values.grad_norm,
            "latent_std": values.latent_std,
            "lr": lr,
            "skipped_steps": self._step.skipped,
        }

    def _save(self, log: RunLog, progress: Progress) -> None:
        model = self._averaged.eval()
        first = islice(self._batches(0), _STATISTICS_BATCHES)
        latent = measure_latent(model, first)
        model.scaling_factor = latent.scaling_factor
        started = time.perf_counter()
        metrics = validate(model, self._preprocessor, self._validation)
        if metrics:
            seconds = time.perf_counter() - started
            log.write({"samples_seen": self.samples_seen, **metrics, "seconds": seconds})
            progress.note(self.samples_seen, metrics)
        self._write_model(self.folder, latent, metrics)
        if self._best.improved(metrics):
            self._write_model(self._best.folder, latent, metrics)

    @property
    def _averaged(self) -> Autoencoder:
        return cast(Autoencoder, self._ema.module)

    def _write_model(self, folder: Path, latent: LatentConfig, metrics: dict[str, float]) -> None:
        config = ModelFolderConfig(
            name=self.name,
            # Where the weights came from is a path, and no part of the architecture.
            model=self.config.model.model_copy(update={"ckpt_path": None}),
            preprocess=self.config.preprocess,
            inference=self.config.inference,
            latent=latent,
            samples_seen=self.samples_seen,
        )
        parameters = sum(p.numel() for p in self._model.parameters())
        cases = (self._case_count(), len(self._validation))
        card = model_card(config, parameters, cases, metrics)
        settings = self._settings()
        write_json(self.folder / SETTINGS, settings)
        run = {"ct_vae_run": json.dumps(settings)}
        save_model_folder(folder, self._averaged, config, card, run)

    def _settings(self) -> dict[str, Any]:
        settings = redacted(self.config.as_json())
        if not isinstance(self._data, PatchDataset):
            # The section tells of cases that this run has never seen.
            settings["data"] = {**settings["data"], "train": "a data set given in Python"}
        return settings

    def _case_count(self) -> int:
        if isinstance(self._data, PatchDataset):
            return self._data.case_count
        return len(self._data)  # type: ignore[arg-type]


def _refuse_used(folder: Path) -> None:
    files = (WEIGHTS, METRICS, f"{BEST}/{WEIGHTS}")
    old = [name for name in files if (folder / name).exists()]
    if old:
        raise ConfigError(
            f"{folder}: holds a run already ({', '.join(old)})",
            "choose another training.output_dir, or take --overwrite to begin anew there",
        )


def stack_images(items: Sequence[Any]) -> torch.Tensor:
    """Collate items of a data set to ``(B, C, *spatial)``.

    Raises:
        InputError: If an item is no tensor, or if shapes differ.
    """
    images = [item["image"] if isinstance(item, dict) else item for item in items]
    if not all(isinstance(image, torch.Tensor) for image in images):
        kinds = sorted({type(image).__name__ for image in images})
        raise InputError(f"data sets give tensors or dictionaries with 'image', got {kinds}")
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise InputError(f"one batch holds images of different shapes: {sorted(shapes)}")
    return torch.stack([torch.as_tensor(image) for image in images])


def _patches(config: RunConfig, split: Split) -> PatchDataset:
    orient = build_preprocessor(config.preprocess).orient
    settings = config.training
    return PatchDataset(
        [orient(case.load()) for case in split.train],
        config.patch_size,
        settings.samples,
        settings.seed,
        settings.foreground_share,
    )
