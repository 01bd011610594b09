"""The workflows of a bundle in Python, without expressions in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import PythonicWorkflow

from ct_vae.bundle.cases import CaseDataset, CaseRunner, Task
from ct_vae.bundle.network import AutoencoderPart, load_part
from ct_vae.errors import ConfigError
from ct_vae.inference.codec import Codec, load_codec
from ct_vae.inference.device import pick_device
from ct_vae.inference.exact_inferer import ExactInferer
from ct_vae.models.model_folder import load_model_folder


class CaseWorkflow(PythonicWorkflow):  # type: ignore[misc]
    """Reconstructs, encodes, decodes or evaluates with the model of a bundle.

    Every property of MONAI's inference workflows can be read, and set before `initialize`.

    Args:
        bundle_root: Folder of the bundle.
        dataset_dir: File, folder or pattern of the cases.
        output_dir: Folder of the results.
        task: ``reconstruct``, ``encode``, ``decode`` or ``evaluate``.
        device: Such as ``cuda:0``; ``None`` takes a GPU if there is one.
    """

    def __init__(
        self,
        bundle_root: str,
        dataset_dir: str,
        output_dir: str,
        task: Task = "reconstruct",
        device: str | None = None,
    ) -> None:
        metadata = Path(bundle_root) / "configs" / "metadata.json"
        if not metadata.is_file():
            raise ConfigError(f"{bundle_root}: not a bundle, configs/metadata.json is missing")
        super().__init__(workflow_type="inference", meta_file=str(metadata))
        self.task, self.output_dir = task, output_dir
        self._given = {"bundle_root": bundle_root, "dataset_dir": dataset_dir, "device": device}

    def run(self) -> None:
        """Go through all cases."""
        self.evaluator.run()

    def finalize(self) -> None:
        """There is nothing left to do."""

    def get_bundle_root(self) -> str:
        """Folder of the bundle."""
        return str(self._given["bundle_root"])

    def get_dataset_dir(self) -> str:
        """Where the cases are."""
        return str(self._given["dataset_dir"])

    def get_device(self) -> str:
        """Where the network computes."""
        return str(pick_device(self._given["device"]))

    def get_dataset(self) -> CaseDataset:
        """The cases."""
        return CaseDataset(self.dataset_dir, latents=self.task == "decode")

    def get_network_def(self) -> AutoencoderPart:
        """The network of one tensor, with its weights."""
        part: Any = "reconstruct" if self.task == "evaluate" else self.task
        return load_part(part, load_model_folder(Path(self.bundle_root) / "models"))

    def get_inferer(self) -> ExactInferer:
        """The way of volumes through it."""
        return ExactInferer()

    def get_evaluator(self) -> CaseRunner:
        """What goes through the cases."""
        codec: Codec = load_codec(
            Path(self.bundle_root) / "models", self.device, self.inferer.tiling
        )
        return CaseRunner(self.task, codec, self.dataset, self.output_dir)
