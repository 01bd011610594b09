"""Functions for commands on several cases: search, progress, failures and exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.progress import report_case, report_stage
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.find_volumes.cases import Case, FoundCases
    from ct_vae.inference.codec import Codec


def find_cases(
    inputs: Sequence[str], *, unique: bool = True, from_list: Path | None = None
) -> FoundCases:
    """Find the input cases, and report DICOM series and files that are skipped.

    Args:
        inputs: Files, folders and glob patterns.
        unique: True if results are named by case keys, which must then differ.
        from_list: File with a list of cases, instead of inputs; optional.

    Raises:
        NoInputError: If an input does not exist or contains no case.
        ConfigError: If two cases have the same key, or inputs and a list are given.
    """
    report_stage("searching for volumes")
    from ct_vae.find_volumes.cases import discover

    if from_list is not None:
        from ct_vae.errors import ConfigError
        from ct_vae.find_volumes.case_list import read_case_list

        if inputs:
            raise ConfigError("INPUT and --from both name volumes", "give one of them")
        return read_case_list(from_list)
    return discover(inputs, unique=unique, report=say)


def work_through(
    cases: Sequence[Case], work: Callable[[Case], str], stage: str, folder: Path
) -> int:
    """Process all cases, print a line for each, and return the exit code.

    Args:
        cases: Cases to process.
        work: Function that processes one case and returns the line to print.
        stage: Name of the command in ``failures.jsonl``.
        folder: Output folder, in which ``failures.jsonl`` is written.
    """
    from ct_vae.batch.run_batch import run_batch

    place = 0

    def one(case: Case) -> None:
        nonlocal place
        place += 1
        report_case(place, len(cases), case.key)
        say(f"[{place}/{len(cases)}] {work(case)}")

    return run_batch(cases, one, stage, folder, say)


def output_or_url(output: str) -> str | Path:
    """Return the output folder, or the URL of it.

    Raises:
        ConfigError: If it is a file or has the name of one.
    """
    from ct_vae.io.remote import is_url

    # A folder at a URL is checked by its name only.
    folder = output_folder(Path(output))
    return output if is_url(output) else folder


def output_folder(output: Path) -> Path:
    """Return the output folder.

    Raises:
        ConfigError: If it is a file or has the name of one.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.find_volumes.cases import VOLUME_SUFFIXES

    # Unlike `Path.is_file`, this raises nothing for long names or unreadable folders.
    file = os.path.isfile(output)  # noqa: PTH113
    if file or output.name.endswith(VOLUME_SUFFIXES):
        raise ConfigError(f"-o {output} names a file", "-o takes a folder")
    return output


def divide_work(
    codec: Codec, split: str, shard: str | None, work: Callable[[str | None], int]
) -> int:
    """Do the cases of this process, or its part of each volume.

    Args:
        codec: Codec of the work.
        split: ``cases`` or ``volume``.
        shard: Shard of the cases, if given.
        work: Function that processes the cases of a shard and returns the exit code.

    Raises:
        ConfigError: If volumes are divided and the codec does not stream them, if a shard is given
            as well, or if the process was not started by ``torchrun``.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.inference.volume_split import joined_processes

    if split == "cases":
        return work(shard)
    if shard is not None or codec.fallback is not None:
        raise ConfigError("--split volume excludes --shard and --fallback", "leave out one of them")
    if codec.tiling.method != "exact" or not codec.network.streams:
        raise ConfigError(
            "--split volume is for exact tiling of 3-D models", "use --tiling exact, or --shard"
        )
    with joined_processes(os.environ) as processes:
        if processes.rank:
            processes.serve(codec.network)
            return 0
        codec.processes, codec.runner = processes.size, processes.run
        return work("0/1")
