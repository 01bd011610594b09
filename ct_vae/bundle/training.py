"""Training with the manners of a MONAI Bundle: a trainer with a length, a device and a data set."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ct_vae.config.run import RunConfig
from ct_vae.datasets.build import build_patches
from ct_vae.datasets.check import checked_split
from ct_vae.training.trainer import train
from ct_vae.volume import Volume

_LOG = logging.getLogger(__name__)


def run_config(settings: Mapping[str, Any], dataset_dir: str = "") -> RunConfig:
    """The configuration of a run on the volumes of a folder.

    Args:
        settings: Sections of a run configuration.
        dataset_dir: Folder of volumes, a tenth of whose patients validate; empty for what the
            settings name.

    Raises:
        ConfigError: If the configuration cannot be run.
    """
    tree = dict(settings)
    if dataset_dir:
        kept = {k: v for k, v in tree.get("data", {}).items() if k in ("augment", "resize_to")}
        tree["data"] = {**kept, "train": [str(dataset_dir)], "val_share": 0.1}
    return RunConfig.model_validate_json(json.dumps(tree))


def training_patches(settings: Mapping[str, Any], dataset_dir: str = "") -> Dataset[Any]:
    """The training patches of `run_config`, ``(C, *spatial)`` tensors in HU.

    Raises:
        ConfigError: With every case that cannot be trained on.
        InputError: With every case that is damaged or refused.
    """
    config = run_config(settings, dataset_dir)
    return build_patches(config, checked_split(config).train, _LOG.info)


def validation_volumes(settings: Mapping[str, Any], dataset_dir: str = "") -> list[Volume]:
    """The validation volumes of `run_config`."""
    return [case.load() for case in checked_split(run_config(settings, dataset_dir)).val]


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
    ) -> None:
        training = dict(settings.get("training", {}))
        samples = max_epochs * epoch_samples
        training |= {"samples": samples, "output_dir": str(output_dir)}
        # Lengths of the settings may be those of a longer run.
        for key in ("save_every", "adversarial_start_samples"):
            if training.get(key):
                training[key] = min(training[key], samples if key == "save_every" else samples - 1)
        self.config = run_config({**settings, "training": training})
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
