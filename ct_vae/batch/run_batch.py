"""Sequential processing of many cases, which continues after failures."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from ct_vae.batch.failures import FAILURES, SEVERAL_FAILED, FailureList
from ct_vae.batch.shard import Shard
from ct_vae.batch.summary import Counts, add_unread, summary_lines
from ct_vae.errors import ConfigError, CtVaeError, OutputError
from ct_vae.find_volumes.cases import Case, FoundCases

__all__ = ["FAILURES", "SEVERAL_FAILED", "concerns_all", "run_batch"]

# Errors that concern a single output name, not the folder.
_ONE_NAME_ONLY = {errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP}


def run_batch(
    cases: Sequence[Case],
    work: Callable[[Case], None],
    stage: str,
    folder: Path,
    report: Callable[[str], None],
) -> int:
    """Process all cases; failed ones are listed in ``failures.jsonl`` of ``folder``.

    Args:
        cases: Cases to process; files that the search has left out are summarized.
        work: Processes one case.
        stage: Name of the stage, for the list of failures.
        folder: Folder of the results.
        report: Called with a line for each failure, and with the summary.

    Returns:
        Exit code: 0, the code of the error if the only case failed, or 8 if one of several failed.

    Raises:
        OutputError: If results cannot be written, so that later cases would fail too.
        ConfigError: If settings are invalid, which are the same for all cases.
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
    """Return True if later cases would fail for the same reason."""
    cause = error.__cause__
    if isinstance(error, OutputError):
        return not (isinstance(cause, OSError) and cause.errno in _ONE_NAME_ONLY)
    return isinstance(error, ConfigError)
