"""Bundle workflows on many cases: reconstruct, encode, decode and evaluate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import Dataset

from ct_vae.batch.jobs import (
    decoded_name,
    decoding,
    do_cases,
    encoding,
    latent_name,
    name_targets,
    reconstruction,
    reconstruction_name,
)
from ct_vae.batch.pipeline import Work
from ct_vae.batch.run_batch import FAILURES, run_batch
from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.evaluation.evaluation import Evaluation
from ct_vae.evaluation.settings import Settings
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.inference.codec import Codec
from ct_vae.io import ReadOptions, read_latent
from ct_vae.latent import Latent
from ct_vae.terminal import printable
from ct_vae.volume import Volume

Task = Literal["reconstruct", "encode", "decode", "evaluate"]
_LOG = logging.getLogger(__name__)


class CaseDataset(Dataset[Volume | Latent]):
    """Dataset of the volumes or latents under a path; items are read on access.

    Args:
        path: File, folder or glob pattern.
        latents: Search for latents instead of volumes.
        options: Fields of `ct_vae.io.ReadOptions`, such as ``hu_offset``.

    Raises:
        ConfigError: If an option is unknown.
        NoInputError: If nothing is found.
    """

    def __init__(self, path: str, latents: bool = False, **options: object) -> None:
        self.latents = latents
        self.options = ReadOptions.named("a data set of cases", options)
        self.cases: list[Case] = discover([str(path)], latents=latents, unique=False, report=_log)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Volume | Latent:
        case = self.cases[index]
        return read_latent(case.path) if self.latents else case.read(self.options)


def _log(line: str) -> None:
    """Log a line about a case, as an error if it starts with ``error:``."""
    level = logging.ERROR if line.startswith("error: ") else logging.INFO
    _LOG.log(level, "%s", printable(line))


class CaseRunner:
    """Run a task on all cases and write the results, like the command of the same name.

    Args:
        task: ``reconstruct``, ``encode``, ``decode`` or ``evaluate``.
        codec: Model to use.
        dataset: Cases to process.
        output_dir: Output folder.
        evaluation: Options of ``evaluate``; defaults to those of the command.

    Raises:
        ConfigError: If the task is unknown, the dataset has the wrong type, or two cases would have
            the same output name.
    """

    def __init__(
        self,
        task: Task,
        codec: Codec,
        dataset: CaseDataset,
        output_dir: str,
        evaluation: Settings | None = None,
    ) -> None:
        ways: dict[str, Callable[[], int]] = {
            "reconstruct": self._reconstruct,
            "encode": self._encode,
            "decode": self._decode,
            "evaluate": self._evaluate,
        }
        if task not in ways:
            raise ConfigError(f"a task is {', '.join(ways)}, got {task!r}")
        if dataset.latents != (task == "decode"):
            raise ConfigError(f"{task} got a dataset of {'latents' * dataset.latents or 'CT'}")
        self.task, self.codec, self.dataset = task, codec, dataset
        self.evaluation = evaluation or Settings()
        self._way, self._folder = ways[task], Path(str(output_dir))
        self.codec.warn = _LOG.warning

    def run(self) -> None:
        """Process all cases; failures are listed in ``failures.jsonl``.

        Raises:
            CtVaeError: If a case failed; raised after all others are finished.
            OutputError: If results cannot be written.
            StoppedError: If a signal was received; the current case is finished first, except in
                an evaluation.
        """
        if self._way():
            raise CtVaeError(
                f"{self.task}: at least one case failed", f"see {self._folder / FAILURES}"
            )

    def _encode(self) -> int:
        targets = self._targets(latent_name)
        return self._do(encoding(self.codec, targets, self.dataset.options))

    def _decode(self) -> int:
        return self._do(decoding(self.codec, self._targets(decoded_name)))

    def _reconstruct(self) -> int:
        targets = self._targets(reconstruction_name)
        return self._do(reconstruction(self.codec, targets, self.dataset.options))

    def _evaluate(self) -> int:
        cases, reading = self.dataset.cases, self.dataset.options
        evaluation = Evaluation(self.codec, cases, self._folder, self.evaluation, reading, _log)

        def work(case: Case) -> None:
            _LOG.info(evaluation.work(case))

        with evaluation.results.collecting():
            code = run_batch(cases, work, self.task, self._folder, _log)
        evaluation.finish()
        return code

    def _targets(self, rename: Callable[[str], str]) -> dict[Case, Path]:
        return name_targets(self.dataset.cases, self._folder, rename)

    def _do(self, work: Work[Any, Any]) -> int:
        return do_cases(self.dataset.cases, work, self.task, self._folder, _log)
