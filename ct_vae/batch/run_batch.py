"""Many cases with one model: a failed case is written down, the rest is finished."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from ct_vae.batch.failures import FAILURES, SEVERAL_FAILED, FailureList
from ct_vae.batch.shard import Shard
from ct_vae.batch.summary import Counts, add_unread, summary_lines
from ct_vae.errors import ConfigError, CtVaeError, OutputError
from ct_vae.io.search.cases import Case, FoundCases

__all__ = ["FAILURES", "SEVERAL_FAILED", "concerns_all", "run_batch"]

# What is wrong with one output name and not with the folder.
_ONE_NAME_ONLY = {errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP}


def run_batch(
    cases: Sequence[Case],
    work: Callable[[Case], None],
    stage: str,
    folder: Path,
    report: Callable[[str], None],
) -> int:
    """Do every case; refused ones are listed in ``failures.jsonl`` of ``folder``.

    Args:
        cases: What to do; what a search has left out with them is summed up.
        work: Does one case.
        stage: Name of the work, for the list of failures.
        folder: Where results go.
        report: Takes one line for every failure, and those that sum up.

    Returns:
        Exit code: 0, that of the error when the only case failed, or 8 when some of several did.

    Raises:
        OutputError: If results cannot be written; the cases after it would meet the same fate.
        ConfigError: If settings do not work; they are the same for all cases.
    """
    failures, counts = FailureList(folder, stage, Shard()), Counts()
    left_out = cases.left_out if isinstance(cases, FoundCases) else []
    add_unread(failures, left_out)
    for case in cases:
        try:
            work(case)
            counts.done += 1
        except CtVaeError as error:
            if concerns_all(error):
                raise
            failures.add(case, error)
            report(f"error: {error}")
    for line in summary_lines(stage, counts, failures, left_out):
        report(line)
    return failures.exit_code(len(cases))


def concerns_all(error: CtVaeError) -> bool:
    """Whether the cases after it would fail as well."""
    cause = error.__cause__
    if isinstance(error, OutputError):
        return not (isinstance(cause, OSError) and cause.errno in _ONE_NAME_ONLY)
    return isinstance(error, ConfigError)
