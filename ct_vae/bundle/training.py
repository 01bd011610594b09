"""Training with the interface of a MONAI Bundle: trainer, epochs, device and dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch.utils.data import Dataset

from ct_vae.config.load import parse_config
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.datasets.build import build_patches
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.datasets.sources.check import checked_split
from ct_vae.errors import ConfigError
from ct_vae.training.trainer import train
from ct_vae.volume import Volume

_LOG = logging.getLogger(__name__)


# Keys of section `data` that apply to any source of cases.
_KEPT = ("augment", "resize_to", "cache_dir", "patient_pattern", "val_share", "val")
_VAL_SHARE = 0.1
_ADVERSARIAL_START = TrainingConfig.model_fields["adversarial_start_samples"].default


def run_config(settings: Mapping[str, Any], dataset_dir: str = "") -> RunConfig:
    """Build the configuration of a run on the volumes in a folder.

    Args:
        settings: Sections of a run configuration.
        dataset_dir: Folder of volumes, which replaces the data of ``settings``. By default, 10 % of
            the patients are used for validation.

    Raises:
        ConfigError: If the configuration is invalid.
    """
    tree = dict(settings)
    if dataset_dir:
        data = tree.get("data") or {}
        kept = {key: data[key] for key in _KEPT if data.get(key) not in (None, [], ())}
        if not {"val", "val_share"} & kept.keys():
            kept["val_share"] = _VAL_SHARE
        tree["data"] = {**kept, "train": [str(dataset_dir)]}
    return parse_config(tree, "settings")


def training_patches(
    settings: Mapping[str, Any], dataset_dir: str = "", samples: int | None = None
) -> Dataset[Any]:
    """Return the training patches of `run_config`, ``(C, *spatial)`` tensors in HU.

    Args:
        settings: Sections of a run configuration.
        dataset_dir: Folder of volumes; defaults to the data of ``settings``.
        samples: Number of samples; defaults to the length of the run.

    Raises:
        ConfigError: If cases cannot be used for training; the message lists all of them.
        InputError: If cases are damaged or refused; the message lists all of them.
    """
    tree = dict(settings)
    if samples is not None:
        tree["training"] = _training(tree, samples)
    config = run_config(tree, dataset_dir)
    if not (config.data.train or config.data.datalist or config.data.csv):
        _LOG.warning("no volumes are given by dataset_dir or the settings: training uses phantoms")
    return build_patches(config, checked_split(config).train, _LOG.info)


def validation_volumes(settings: Mapping[str, Any], dataset_dir: str = "") -> Sequence[Volume]:
    """Return the validation volumes of `run_config`, which are read on access."""
    return _Volumes(checked_split(run_config(settings, dataset_dir)).val)


class _Volumes(Sequence[Volume]):
    """Sequence of volumes that are read on access."""

    def __init__(self, cases: Sequence[TrainingCase]) -> None:
        self._cases = cases

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> Volume: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Volume]: ...

    def __getitem__(self, index: int | slice) -> Volume | Sequence[Volume]:
        if isinstance(index, slice):
            return _Volumes(self._cases[index])
        return self._cases[index].load()


def _training(settings: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Return section ``training`` for another length of the run; invalid values are kept."""
    given = settings.get("training") or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"settings: training must be an object, got {given!r}", "give an object")
    training = {**given, "samples": samples}
    # Durations in the settings may belong to a longer run.
    lengths = {"save_every": samples}
    if training.get("adversarial_weight"):
        training.setdefault("adversarial_start_samples", _ADVERSARIAL_START)
        lengths["adversarial_start_samples"] = samples - 1
    for key, most in lengths.items():
        if isinstance(training.get(key), int):
            training[key] = min(training[key], most)
    return training


class Trainer:
    """Trainer of this package with the argument names of MONAI.

    Args:
        settings: Sections of a run configuration.
        dataset: Patches in HU, ``(C, *spatial)`` tensors or dictionaries with one under ``image``.
        output_dir: Run folder, which becomes a model folder.
        max_epochs: Number of epochs.
        epoch_samples: Number of samples per epoch.
        val_dataset: Whole volumes to validate on.
        device: Device such as ``cuda:0``; defaults to a GPU if available, with ``torchrun`` one per
            rank.
        resume: Resume from the latest checkpoint in the folder, if any.
        dataset_dir: Folder of the volumes of ``dataset``; defaults to the data of ``settings``.

    Raises:
        ConfigError: If the configuration is invalid.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the names that a bundle's configuration uses
        self,
        settings: Mapping[str, Any],
        dataset: Dataset[Any],
        output_dir: str,
        max_epochs: int,
        epoch_samples: int,
        val_dataset: Sequence[Volume] = (),
        device: str | None = None,
        resume: bool = True,
        dataset_dir: str = "",
    ) -> None:
        training = _training(settings, max_epochs * epoch_samples)
        training["output_dir"] = str(output_dir)
        self.config = run_config({**settings, "training": training}, dataset_dir)
        self.dataset, self.val_dataset = dataset, val_dataset
        self.max_epochs, self.device, self.resume = max_epochs, device, resume

    def run(self) -> Path:
        """Train, and return the run folder."""
        where = None if self.device is None else str(self.device)
        return train(
            self.dataset,
            self.config,
            self.val_dataset,
            device=where,
            name=Path(self.config.training.output_dir or "run").name,
            resume=self.resume,
        )
