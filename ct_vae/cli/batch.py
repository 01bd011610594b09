"""What commands on many cases share: finding them, progress, failures, exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from ct_vae.inference.pipeline import Work
    from ct_vae.io.discover import Case

Given = TypeVar("Given")
Made = TypeVar("Made")


def find_cases(inputs: Sequence[str], *, unique: bool = True) -> list[Case]:
    """Find what is to be done, and say which DICOM series are skipped and why.

    Args:
        inputs: Files, folders and patterns.
        unique: Whether results will be named by keys, so that no two may be the same.

    Raises:
        NoInputError: If an input does not exist or gives nothing.
        ConfigError: If two cases would get the same key.
    """
    from ct_vae.io.discover import discover

    return discover(inputs, unique=unique, report=tell)


def tell(line: str) -> None:
    """Show a line on standard error."""
    typer.echo(line, err=True)


def work_through(
    cases: Sequence[Case], work: Callable[[Case], str], stage: str, folder: Path
) -> int:
    """Do every case and say so; ``work`` returns the line that tells what became of its case."""
    from ct_vae.inference.batch import run_batch

    place = 0

    def one(case: Case) -> None:
        nonlocal place
        place += 1
        tell(f"[{place}/{len(cases)}] {work(case)}")

    return run_batch(cases, one, stage, folder, tell)


def overlap_work(
    cases: Sequence[Case],
    shard: str | None,
    work: Work[Given, Made],
    stage: str,
    folder: Path,
) -> int:
    """Do the cases of one shard, reading and writing while others are computed.

    Args:
        cases: Of all shards.
        shard: As ``i/n``; ``None`` asks the environment.
        work: What is done with each.
        stage: Name of the work, for the list of failures.
        folder: Where results go.

    Returns:
        Exit code.

    Raises:
        ConfigError: If there is no such shard, or settings do not work.
        OutputError: If results cannot be written.
        StoppedError: If a signal came; the case that was begun is finished and written.
    """
    from ct_vae.inference.failures import FailureList
    from ct_vae.inference.pipeline import Pipeline
    from ct_vae.inference.shard import choose_shard
    from ct_vae.training.stop import StopRequest

    part = choose_shard(shard, os.environ)
    mine = list(cases)
    if part.count > 1:
        mine = part.of(cases)
        tell(f"shard {part}: {len(mine)} of {len(cases)} cases")
    with StopRequest() as stop:
        failures = FailureList(folder, stage, part)
        return Pipeline(work, failures, tell, lambda: stop.name).run(mine)


def name_targets(
    cases: Sequence[Case], folder: Path, rename: Callable[[str], str]
) -> dict[Case, Path]:
    """Where the result of each case goes, settled before any work.

    Args:
        cases: What will be done.
        folder: For the results.
        rename: From a case's key to the name of its result.

    Raises:
        ConfigError: If two results would have one name, or one the name of an input.
    """
    from ct_vae.errors import ConfigError

    # Unlike `Path.resolve` this bears links in circles, which are refused when they are read.
    inputs = {os.path.realpath(case.path) for case in cases}
    targets = {case: folder / rename(case.key) for case in cases}
    owners: dict[str, Case] = {}
    for case, target in targets.items():
        place = os.path.realpath(target)
        if place in inputs:
            raise ConfigError(f"{target}: an input has this name", "choose another folder for -o")
        if place in owners:
            both = f"{owners[place].path} and {case.path}"
            raise ConfigError(f"{target}: would be the result of {both}", "rename one of them")
        owners[place] = case
    return targets


def output_folder(output: Path) -> Path:
    """The folder for results, refused when it looks like the name of a file."""
    from ct_vae.errors import ConfigError

    if output.is_file() or output.name.endswith((".nii", ".nii.gz", ".mha", ".nrrd")):
        raise ConfigError(f"-o {output} names a file", "-o takes a folder")
    return output
