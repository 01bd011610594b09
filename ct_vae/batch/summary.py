"""The last lines of a batch: how many cases came to which end, and which are not done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ct_vae.batch.failures import FailureList

# Of cases that are not done, how many are named.
_SHOWN = 10


@dataclass
class Counts:
    """Cases that were done, and cases of which nothing had to be made."""

    done: int = 0
    kept: int = 0


def summary_lines(stage: str, counts: Counts, failures: FailureList) -> Iterator[str]:
    """Tell what became of a batch; nothing where all there was to do was one case, and it is done.

    Args:
        stage: Name of the work.
        counts: Of cases that are done.
        failures: Of the others.
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
    if failures.left:
        shown = ", ".join(failures.left[:_SHOWN])
        more = len(failures.left) - _SHOWN
        yield (
            f"{stage}: not done, for other processes have not finished: {shown}"
            f"{f' and {more} more' if more > 0 else ''}; run the same command again"
        )
