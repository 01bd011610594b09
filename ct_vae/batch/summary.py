"""Summary of a batch: numbers of cases by outcome, and unfinished cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ct_vae.batch.failures import FailureList
from ct_vae.find_volumes.left_out import LeftOut, count_line

# Number of unfinished cases to name.
_SHOWN = 10


@dataclass
class Counts:
    """Numbers of processed cases and of cases with kept results."""

    done: int = 0
    kept: int = 0


def summary_lines(
    stage: str, counts: Counts, failures: FailureList, left_out: Sequence[LeftOut] = ()
) -> Iterator[str]:
    """Yield the lines of a summary; none for a single successful case.

    Args:
        stage: Name of the stage.
        counts: Numbers of successful cases.
        failures: Failed and unfinished cases.
        left_out: Files and series that the search has left out.
    """
    ends = {
        "done": counts.done,
        "kept": counts.kept,
        "failed": failures.count,
        "left to other processes": len(failures.left),
    }
    if sum(ends.values()) > 1:
        outcomes = ", ".join(f"{count} {end}" for end, count in ends.items() if count)
        where = f" (see {failures.path})" if failures.count or failures.left else ""
        yield f"{stage}: {outcomes}{where}"
    if left_out:
        yield f"{stage}: left out: {count_line(left_out)}"
    if failures.left:
        shown = ", ".join(failures.left[:_SHOWN])
        more = len(failures.left) - _SHOWN
        yield (
            f"warning: {stage}: not done, as other processes have not finished: {shown}"
            f"{f' and {more} more' if more > 0 else ''}; run the same command again"
        )


def add_unread(failures: FailureList, left_out: Iterable[LeftOut]) -> None:
    """Add the files in unsupported formats that the user expects to be read."""
    for each in left_out:
        if each.meant:
            failures.add_unread(each.path, each.reason)
