"""Bundle workflows as Python classes, without expressions in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from monai.bundle import PythonicWorkflow
from monai.inferers import Inferer, SimpleInferer
from torch.utils.data import Dataset

from ct_vae.bundle.cases import CaseDataset, CaseRunner, Task
from ct_vae.bundle.network import AutoencoderPart, load_part
from ct_vae.bundle.training import Trainer, training_patches, validation_volumes
from ct_vae.errors import ConfigError
from ct_vae.evaluation.settings import Settings
from ct_vae.inference.codec import Codec, load_codec
from ct_vae.inference.device import pick_device
from ct_vae.inference.exact_inferer import ExactInferer
from ct_vae.models.model_folder import load_model_folder
from ct_vae.volume import Volume


class _Workflow(PythonicWorkflow):  # type: ignore[misc]
    """Base class of the workflows of a bundle.

    All properties of MONAI's workflows can be read, and set before `initialize`.
    """

    def __init__(
        self,
        kind: Literal["inference", "train"],
        bundle_root: str,
        dataset_dir: str,
        device: str | None,
    ) -> None:
        metadata = Path(bundle_root) / "configs" / "metadata.json"
        if not metadata.is_file():
            raise ConfigError(f"{bundle_root}: not a bundle, configs/metadata.json is missing")
        super().__init__(workflow_type=kind, meta_file=str(metadata))
        self._root, self._dataset_dir, self._device = bundle_root, dataset_dir, device

    def finalize(self) -> None:
        """Do nothing; required by MONAI."""

    def get_bundle_root(self) -> str:
        """Return the folder of the bundle."""
        return self._root

    def get_dataset_dir(self) -> str:
        """Return the path of the cases."""
        return self._dataset_dir

    def get_network_def(self) -> AutoencoderPart:
        """Return the network with its weights."""
        return self._part("reconstruct")

    def _part(self, part: Literal["reconstruct", "encode", "decode"]) -> AutoencoderPart:
        return load_part(part, load_model_folder(Path(self.bundle_root) / "models"))


class CaseWorkflow(_Workflow):
    """Workflow that reconstructs, encodes, decodes or evaluates with the model of a bundle.

    Args:
        bundle_root: Folder of the bundle.
        dataset_dir: File, folder or glob pattern of the cases.
        output_dir: Output folder.
        task: ``reconstruct``, ``encode``, ``decode`` or ``evaluate``.
        device: Device such as ``cuda:0``; defaults to a GPU if available.
        evaluation: Options of ``evaluate``; defaults to those of the command.

    Raises:
        ConfigError: If the folder is not a bundle.
    """

    def __init__(
        self,
        bundle_root: str,
        dataset_dir: str,
        output_dir: str,
        task: Task = "reconstruct",
        device: str | None = None,
        evaluation: Settings | None = None,
    ) -> None:
        super().__init__("inference", bundle_root, dataset_dir, device)
        self.task, self.output_dir, self.evaluation = task, output_dir, evaluation

    def run(self) -> None:
        """Process all cases."""
        self.evaluator.run()

    def get_device(self) -> str:
        """Return the device of the network."""
        return str(pick_device(self._device))

    def get_dataset(self) -> CaseDataset:
        """Return the dataset of cases."""
        return CaseDataset(self.dataset_dir, latents=self.task == "decode")

    def get_network_def(self) -> AutoencoderPart:
        """Return the network with its weights."""
        return self._part("reconstruct" if self.task == "evaluate" else self.task)

    def get_inferer(self) -> ExactInferer:
        """Return the inferer for whole volumes."""
        return ExactInferer()

    def get_evaluator(self) -> CaseRunner:
        """Return the runner of the cases."""
        codec: Codec = load_codec(
            Path(self.bundle_root) / "models", self.device, self.inferer.tiling
        )
        return CaseRunner(self.task, codec, self.dataset, self.output_dir, self.evaluation)


class TrainingWorkflow(_Workflow):
    """Workflow that trains the architecture of a bundle, like its ``configs/train.json``.

    Args:
        bundle_root: Folder of the bundle.
        output_dir: Run folder, which becomes a model folder.
        dataset_dir: Folder of volumes; defaults to the data of the configuration.
        max_epochs: Number of epochs; defaults to that of the configuration.
        device: Device such as ``cuda:0``; defaults to a GPU if available, with ``torchrun`` one per
            rank.

    Raises:
        ConfigError: If the folder is not a bundle.
    """

    def __init__(
        self,
        bundle_root: str,
        output_dir: str,
        dataset_dir: str = "",
        max_epochs: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__("train", bundle_root, dataset_dir, device)
        path = Path(bundle_root) / "configs" / "train.json"
        try:
            tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self.settings, trainer = tree["settings"], tree["train"]["trainer"]
            self._epochs = int(max_epochs or trainer["max_epochs"])
            self._epoch_samples = int(trainer["epoch_samples"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: is not what `ct-vae bundle` writes ({type(error).__name__}: {error})",
                "write the bundle again",
            ) from error
        self.output_dir = output_dir

    def run(self) -> Path:
        """Train, and return the run folder."""
        folder: Path = self.trainer.run()
        return folder

    def get_device(self) -> str | None:
        """Return the device; ``None`` means that the trainer chooses it."""
        return self._device

    def get_max_epochs(self) -> int:
        """Return the number of epochs."""
        return self._epochs

    def get_train_dataset(self) -> Dataset[Any]:
        """Return the dataset of training patches."""
        samples = self.max_epochs * self._epoch_samples
        return training_patches(self.settings, self.dataset_dir, samples)

    def get_val_dataset(self) -> Sequence[Volume]:
        """Return the validation volumes."""
        return validation_volumes(self.settings, self.dataset_dir)

    def get_train_inferer(self) -> Inferer:
        """Return the inferer for training patches."""
        return SimpleInferer()

    def get_trainer(self) -> Trainer:
        """Return the trainer."""
        return Trainer(
            self.settings,
            self.train_dataset,
            self.output_dir,
            self.max_epochs,
            self._epoch_samples,
            self.val_dataset,
            self.device,
            dataset_dir=self.dataset_dir,
        )
