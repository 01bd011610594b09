"""The workflows of a bundle that go through cases: reconstruct, encode, decode, evaluate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch.utils.data import Dataset

from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.evaluation.case import evaluate_case
from ct_vae.evaluation.metrics import MetricRow
from ct_vae.evaluation.tables import clear_results, write_csv, write_summary
from ct_vae.inference.batch import run_batch
from ct_vae.inference.codec import Codec
from ct_vae.io import ReadOptions, read_latent, write_latent, write_volume
from ct_vae.io.discover import Case, discover
from ct_vae.latent import Latent
from ct_vae.volume import Volume

Task = Literal["reconstruct", "encode", "decode", "evaluate"]
_LOG = logging.getLogger(__name__)


class CaseDataset(Dataset[Volume | Latent]):
    """Volumes, or latents, that are found under a path; each is read when it is asked for.

    Args:
        path: File, folder, or pattern.
        latents: Look for latents instead of volumes.
        options: Fields of `ct_vae.io.ReadOptions`, such as ``hu_offset``.

    Raises:
        NoInputError: If there is nothing.
    """

    def __init__(self, path: str, latents: bool = False, **options: object) -> None:
        self.latents = latents
        self.options = ReadOptions(**options)  # type: ignore[arg-type]
        self.cases: list[Case] = discover([str(path)], latents=latents, report=_LOG.info)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Volume | Latent:
        case = self.cases[index]
        return read_latent(case.path) if self.latents else case.read(self.options)


class CaseRunner:
    """Does one thing with every case and writes the results, as the command of that name does.

    Args:
        task: ``reconstruct``, ``encode``, ``decode`` or ``evaluate``.
        codec: The model.
        dataset: The cases.
        output_dir: Folder of the results.

    Raises:
        ConfigError: If there is no such task, or if the data set is of the other kind.
    """

    def __init__(self, task: Task, codec: Codec, dataset: CaseDataset, output_dir: str) -> None:
        ways: dict[str, Callable[[Case], None]] = {
            "reconstruct": self._reconstruct,
            "encode": self._encode,
            "decode": self._decode,
            "evaluate": self._evaluate,
        }
        if task not in ways:
            raise ConfigError(f"a task is {', '.join(ways)}, got {task!r}")
        if dataset.latents != (task == "decode"):
            raise ConfigError(
                f"{task} is given a data set of {'latents' * dataset.latents or 'CT'}"
            )
        self.task, self.codec, self.dataset = task, codec, dataset
        self._work, self._folder = ways[task], Path(output_dir)
        self._rows: list[MetricRow] = []

    def run(self) -> None:
        """Do all cases; failures are listed in ``failures.jsonl``.

        Raises:
            CtVaeError: After all others are finished, if a case failed.
        """
        if self.task == "evaluate":
            clear_results(self._folder)
        code = run_batch(self.dataset.cases, self._work, self.task, self._folder, _LOG.error)
        if code:
            raise CtVaeError(
                f"{self.task}: at least one case failed",
                "failures.jsonl beside the results has why",
            )

    def _target(self, case: Case, ending: str) -> Path:
        return self._folder / f"{case.key}{ending}"

    def _reconstruct(self, case: Case) -> None:
        volume = self.codec.reconstruct(case.read(self.dataset.options))
        write_volume(volume, self._target(case, "_reconstruction.nii.gz"))

    def _encode(self, case: Case) -> None:
        latent = self.codec.encode(case.read(self.dataset.options))
        write_latent(latent, self._target(case, "_latent.nii.gz"))

    def _decode(self, case: Case) -> None:
        volume = self.codec.decode(read_latent(case.path))
        stem = case.key.removesuffix("_latent")
        write_volume(volume, self._folder / f"{stem}_decoded.nii.gz")

    def _evaluate(self, case: Case) -> None:
        name = f"case_{self.dataset.cases.index(case) + 1:04d}"
        self._rows += evaluate_case(self.codec, case.read(self.dataset.options), name).rows
        write_csv(self._rows, self._folder / "metrics.csv")
        write_summary(self._rows, self._folder / "summary.json")
