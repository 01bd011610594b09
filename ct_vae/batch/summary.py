"""The last lines of a batch: how many cases came to which end, and which are not done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ct_vae.batch.failures import FailureList
from ct_vae.io.search.left_out import LeftOut, count_line

# Of cases that are not done, how many are named.
_SHOWN = 10


@dataclass
class Counts:
    """Cases that were done, and cases of which nothing had to be made."""

    done: int = 0
    kept: int = 0


def summary_lines(
    stage: str, counts: Counts, failures: FailureList, left_out: Sequence[LeftOut] = ()
) -> Iterator[str]:
    """Lines that sum up a batch; none for a single case that is done.

    Args:
        stage: Name of the work.
        counts: Cases that are done.
        failures: Cases that are not.
        left_out: Files and series that the search found and did not take.
    """
    ends = {
        "done": counts.done,
        "kept": counts.kept,
        "failed": failures.count,
        "left to other processes": len(failures.left),
    }
    if sum(ends.values()) > 1:
        told = ", ".join(f"{count} {end}" for end, count in ends.items() if count)
        where = f" (see {failures.path})" if failures.count or failures.left else ""
        yield f"{stage}: {told}{where}"
    if left_out:
        yield f"{stage}: left out: {count_line(left_out)}"
    if failures.left:
        shown = ", ".join(failures.left[:_SHOWN])
        more = len(failures.left) - _SHOWN
        yield (
            f"{stage}: not done, for other processes have not finished: {shown}"
            f"{f' and {more} more' if more > 0 else ''}; run the same command again"
        )


def add_unread(failures: FailureList, left_out: Iterable[LeftOut]) -> None:
    """Record the files that must have been meant as inputs and cannot be read."""
    for each in left_out:
        if each.meant:
            failures.add_unread(each.path, each.reason)
