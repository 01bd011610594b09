"""Training with the manners of a MONAI Bundle: a trainer with a length, a device and a data set."""

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


# Keys of section `data` that hold for any source of cases.
_KEPT = ("augment", "resize_to", "cache_dir", "patient_pattern", "val_share", "val")
_VAL_SHARE = 0.1
_ADVERSARIAL_START = TrainingConfig.model_fields["adversarial_start_samples"].default


def run_config(settings: Mapping[str, Any], dataset_dir: str = "") -> RunConfig:
    """The configuration of a run on the volumes of a folder.

    Args:
        settings: Sections of a run configuration.
        dataset_dir: Folder of volumes, which take the place of those that the settings name;
            unless these tell otherwise, a tenth of the patients validates.

    Raises:
        ConfigError: If the configuration cannot be run.
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
    """The training patches of `run_config`, ``(C, *spatial)`` tensors in HU.

    Args:
        settings: Sections of a run configuration.
        dataset_dir: Folder of volumes; empty for what the settings name.
        samples: How many; ``None`` takes the length of the run.

    Raises:
        ConfigError: With every case that cannot be trained on.
        InputError: With every case that is damaged or refused.
    """
    tree = dict(settings)
    if samples is not None:
        tree["training"] = _training(tree, samples)
    config = run_config(tree, dataset_dir)
    if not (config.data.train or config.data.datalist or config.data.csv):
        _LOG.warning("no volumes are named, by dataset_dir or otherwise: training is on phantoms")
    return build_patches(config, checked_split(config).train, _LOG.info)


def validation_volumes(settings: Mapping[str, Any], dataset_dir: str = "") -> Sequence[Volume]:
    """The validation volumes of `run_config`, each of which is read when it is asked for."""
    return _Volumes(checked_split(run_config(settings, dataset_dir)).val)


class _Volumes(Sequence[Volume]):
    """Cases as volumes, of which the memory holds none."""

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
    """Section ``training`` for another length of the run; what is wrong in it stays wrong."""
    given = settings.get("training") or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"settings: training is no section but {given!r}", "give an object")
    training = {**given, "samples": samples}
    # Lengths of the settings may be those of a longer run.
    lengths = {"save_every": samples}
    if training.get("adversarial_weight"):
        training.setdefault("adversarial_start_samples", _ADVERSARIAL_START)
        lengths["adversarial_start_samples"] = samples - 1
    for key, most in lengths.items():
        if isinstance(training.get(key), int):
            training[key] = min(training[key], most)
    return training


class Trainer:
    """The trainer of this package, whose clock counts samples, under MONAI's names.

    Args:
        settings: Sections of a run configuration.
        dataset: Patches in HU, ``(C, *spatial)`` tensors or dictionaries with one under ``image``.
        output_dir: Run folder, which becomes a model folder.
        max_epochs: Length of the run in units of ``epoch_samples``.
        epoch_samples: Samples that are called an epoch.
        val_dataset: Whole volumes to validate on.
        device: Such as ``cuda:0``; ``None`` takes a GPU if there is one, and under ``torchrun``
            each rank its own.
        resume: Go on from the newest whole state in the folder, or begin.
        dataset_dir: Where ``dataset`` is from, if not from what the settings name.

    Raises:
        ConfigError: If the configuration cannot be run.
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
        """Train to the end; gives the run folder."""
        where = None if self.device is None else str(self.device)
        return train(
            self.dataset,
            self.config,
            self.val_dataset,
            device=where,
            name=Path(self.config.training.output_dir or "run").name,
            resume=self.resume,
        )
