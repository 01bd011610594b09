"""Training and planning of a run, with checks before it starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from ct_vae.blocks.memory_format import memory_format
from ct_vae.config.load import load_config, parse_config
from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError, InputError
from ct_vae.io.folders import check_writable
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.weights import WEIGHTS
from ct_vae.terminal import say
from ct_vae.training.build import build_step
from ct_vae.training.checkpoints.best import BEST
from ct_vae.training.checkpoints.checkpoint import CHECKPOINTS, has_checkpoint
from ct_vae.training.checkpoints.lock import run_lock
from ct_vae.training.data.loader import check_shares
from ct_vae.training.data.run_data import given_data, named_data
from ct_vae.training.data.workers import with_workers
from ct_vae.training.device.augmented import is_drawable
from ct_vae.training.distributed import distributed_context
from ct_vae.training.initial import other_preprocessing
from ct_vae.training.reporting.run_log import METRICS
from ct_vae.training.reporting.run_summary import RunSummary, summarize_run
from ct_vae.training.reporting.trial import trial_positions, try_steps
from ct_vae.training.run import Run
from ct_vae.training.validation.validate import validation_codec


def train(  # noqa: PLR0913, PLR0917 - what a user may say about a run
    train_dataset: Dataset[Any] | None,
    config: str | Path | RunConfig,
    val_dataset: Any = None,
    device: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    force: bool = False,
) -> Path:
    """Train an autoencoder and write it as a model folder.

    Under ``torchrun``, every rank calls this function; ranks share each batch, and the first one
    writes files.

    Args:
        train_dataset: Data set with ``__len__`` and ``__getitem__`` of patches in HU, sides
            multiples of the factor. Items are tensors or NumPy arrays ``[C, *spatial]``,
            dictionaries or TorchIO subjects with one under `data.image_key`, NIfTI images of
            nibabel, tuples ``(image, ...)``, or lists of such samples. Items that are `Volume` are
            cut into patches of `training.patch_size`. ``None`` uses the volumes in the
            configuration.
        config: A run configuration, or its JSON file.
        val_dataset: Data set of `Volume` for validation, or of patches as in ``train_dataset``, in
            HU; ``None`` uses the volumes in the configuration if training does.
        device: Device such as ``cuda:0``; ``None`` uses a GPU if available.
        name: Name of the run; defaults to the name of the configuration file.
        overwrite: Replace an existing run in the folder.
        resume: Resume from the newest valid checkpoint in the folder, or begin if there is none.
        force: Accept a data set given in Python even if its first patches, or the first of
            ``val_dataset``, do not look like HU, as ``--force`` does for files.

    Returns:
        The run folder, which is a model folder.

    Raises:
        ConfigError: If the configuration is invalid, if the folder has a run already, or if the run
            to resume began with another configuration.
        InputError: If a volume or the data set is refused, or if all checkpoints are damaged.
        OutputError: If the run folder cannot be written.
        StoppedError: If a signal requested a stop; the state of the run has been saved.

    Examples:
        >>> import json
        >>> import torch
        >>> from pathlib import Path
        >>> from ct_vae.training import train
        >>> settings = {
        ...     "model": {"down_channels": [4, 4], "num_res_blocks": 1, "mid_attn": False},
        ...     "training": {"samples": 4, "batch_size": 2, "patch_size": [8, 8, 8]},
        ... }
        >>> _ = Path("example.json").write_text(json.dumps(settings))
        >>> patches = [torch.randn(1, 8, 8, 8) * 20 + 40 for _ in range(4)]
        >>> folder = train(patches, "example.json", device="cpu")
        >>> sorted(path.name for path in folder.glob("*.safetensors"))
        ['model.safetensors']
    """
    settings, title, folder = _settled(config, name, overwrite, resume)
    with distributed_context(device) as world:
        # Checks without data come first.
        check_shares(settings.training.samples, settings.training.batch_size, world.size)
        step = build_step(settings, world)
        report = say if world.is_main_process else _say_nothing
        _tell_preprocessing(settings, report)
        if train_dataset is None:
            data = named_data(settings, val_dataset, report, force=force)
        else:
            data = given_data(settings, train_dataset, val_dataset, report, force)
            settings = _with_patches(settings, data.image_size)
        _tell_augmentation(settings, data.train, report)
        settings = with_workers(settings, world, train_dataset is None)
        if data.validation and not data.val_patches:
            validation_codec(cast(Autoencoder, step.generator.module), settings)
        with run_lock(folder) if world.is_main_process else nullcontext():
            world.barrier()
            Run(settings, title, folder, step, data).train(resume)
    return folder


def plan_run(
    config: str | Path | RunConfig,
    device: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> RunSummary:
    """Make all checks of a run, measure some trial steps, and return a summary.

    Every volume that is not in the cache is read, as in the run. Nothing is written.

    Args:
        config: A run configuration, or its JSON file.
        device: As for `train`.
        name: As for `train`.
        overwrite: As for `train`.
        resume: As for `train`.

    Raises:
        ConfigError: If the configuration is invalid.
        InputError: If a volume is refused.
        OutputError: If the run folder is not writable.
    """
    settings, title, folder = _settled(config, name, overwrite, resume)
    check_writable(folder)
    with distributed_context(device) as world:
        check_shares(settings.training.samples, settings.training.batch_size, world.size)
        step = build_step(settings, world)
        report = say if world.is_main_process else _say_nothing
        _tell_preprocessing(settings, report)
        data = named_data(settings, None, report, keep=False)
        settings = with_workers(settings, world, numbered=True)
        Run(settings, title, folder, step, data).check(resume)
        step.generator.module.train()
        share = -(-settings.training.batch_size // world.size)
        image = torch.zeros(share, settings.model.in_channels, *settings.image_size)
        image = image.to(world.device).to(memory_format=memory_format(settings.model.spatial_dims))
        seen = trial_positions(settings.training)
        trial = try_steps(lambda: step(image, next(seen), settings.training.lr), world.device)
        cases = data.case_count, len(data.validation)
        numbers = step.precision.name
        return summarize_run(settings, cases, world=world, precision=numbers, trial=trial)


def _settled(
    config: str | Path | RunConfig, name: str | None, overwrite: bool, resume: bool
) -> tuple[RunConfig, str, Path]:
    """Return the settings, name and folder of a run.

    Raises:
        ConfigError: If the configuration is invalid, or the folder has a run already.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config)
    title = name or (Path(config).stem if not isinstance(config, RunConfig) else "run")
    folder = Path(settings.training.output_dir or Path("runs") / title)
    if overwrite and resume:
        raise ConfigError("--overwrite and --resume exclude each other", "give one of them")
    if not (overwrite or resume):
        _refuse_used(folder)
    return settings, title, folder


def _with_patches(settings: RunConfig, size: tuple[int, ...] | None) -> RunConfig:
    """Set the patch size of the configuration to that of a data set.

    Raises:
        InputError: If such patches are too small for the losses.
    """
    if size is None or size == settings.image_size:
        return settings
    tree = settings.as_json()
    tree["training"]["patch_size"] = size
    try:
        return parse_config(tree, "the patches of the data set")
    except ConfigError as error:
        raise InputError(error.cause, error.hint) from error


def _tell_preprocessing(settings: RunConfig, report: Callable[[str], None]) -> None:
    note = other_preprocessing(settings)
    if note is not None:
        report(f"note: {note}")


def _tell_augmentation(
    settings: RunConfig, data: Dataset[Any], report: Callable[[str], None]
) -> None:
    """Report that a given `training.augment_on_device` has no effect."""
    if settings.training.augment_on_device and not is_drawable(data):
        report(
            "note: training.augment_on_device has no effect on data sets given in Python, with "
            "data.resize_to, or without rotation, zoom and noise in data.augment"
        )


def _say_nothing(_: str) -> None:
    """Report nothing, on all ranks except the first."""


def _refuse_used(folder: Path) -> None:
    files = (WEIGHTS, METRICS, f"{BEST}/{WEIGHTS}")
    old = [name for name in files if (folder / name).exists()]
    old += [CHECKPOINTS] if has_checkpoint(folder) else []
    if old:
        raise ConfigError(
            f"{folder} contains a run already ({', '.join(old)})",
            "add --resume to continue it, --overwrite to replace it, or set another "
            "training.output_dir",
        )
