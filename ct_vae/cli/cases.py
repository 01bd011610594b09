"""What commands on many cases share: finding them, progress, failures, exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.io.search.cases import Case


def find_cases(inputs: Sequence[str], *, unique: bool = True) -> list[Case]:
    """Find what is to be done, and say which DICOM series are skipped and why.

    Args:
        inputs: Files, folders and patterns.
        unique: Whether results will be named by keys, so that no two may be the same.

    Raises:
        NoInputError: If an input does not exist or gives nothing.
        ConfigError: If two cases would get the same key.
    """
    from ct_vae.io.search.cases import discover

    return discover(inputs, unique=unique, report=say)


def work_through(
    cases: Sequence[Case], work: Callable[[Case], str], stage: str, folder: Path
) -> int:
    """Do every case and say so; ``work`` returns the line that tells what became of its case."""
    from ct_vae.batch.run_batch import run_batch

    place = 0

    def one(case: Case) -> None:
        nonlocal place
        place += 1
        say(f"[{place}/{len(cases)}] {work(case)}")

    return run_batch(cases, one, stage, folder, say)


def output_folder(output: Path) -> Path:
    """The folder for results, refused when it looks like the name of a file."""
    from ct_vae.errors import ConfigError

    # Unlike `Path.is_file` this bears names too long and folders that cannot be looked into.
    file = os.path.isfile(output)  # noqa: PTH113
    if file or output.name.endswith((".nii", ".nii.gz", ".mha", ".nrrd")):
        raise ConfigError(f"-o {output} names a file", "-o takes a folder")
    return output
