"""Which cases of a list one of several processes does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ct_vae.errors import ConfigError
from ct_vae.inference.device import environment_number
from ct_vae.io.search.cases import Case

_ARRAY = "SLURM_ARRAY_TASK_"
_HINT = "give --shard i/n, with i from 0 to n - 1, or --shard 0/1 for all cases"


@dataclass(frozen=True)
class Shard:
    """The part ``index`` of ``count`` parts, counted from 0.

    Raises:
        ConfigError: If there is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"there is no shard {self}", _HINT)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, cases: Sequence[Case]) -> list[Case]:
        """Every ``count``-th of the sorted cases: each is in exactly one shard."""
        ordered = sorted(cases, key=lambda case: (case.key, str(case.path)))
        return list(islice(ordered, self.index, None, self.count))


def choose_shard(text: str | None, environment: Mapping[str, str]) -> Shard:
    """The shard that was named, or else that of this process among those started with it.

    ``RANK`` and ``WORLD_SIZE`` come from torchrun, ``SLURM_ARRAY_TASK_*`` from job arrays; the
    tasks of an array that all start torchrun divide the cases among all processes.

    Raises:
        ConfigError: If the text or the environment names no shard.
    """
    if text is not None:
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found:
            raise ConfigError(f"--shard {text} names no shard", _HINT)
        return Shard(int(found[1]), int(found[2]))
    task, rank = _of_array(environment), _of_ranks(environment)
    return Shard(task.index * rank.count + rank.index, task.count * rank.count)


def _of_ranks(environment: Mapping[str, str]) -> Shard:
    if "RANK" not in environment:
        return Shard()
    return Shard(
        environment_number(environment, "RANK"), environment_number(environment, "WORLD_SIZE")
    )


def _of_array(environment: Mapping[str, str]) -> Shard:
    if f"{_ARRAY}ID" not in environment:
        return Shard()
    task, low, high, count = (
        environment_number(environment, _ARRAY + n) for n in ("ID", "MIN", "MAX", "COUNT")
    )
    # The system tells the step also of arrays that have none, such as 1,2,7.
    step = (high - low) // (count - 1) if count > 1 else 1
    if step < 1 or high - low != step * (count - 1) or (task - low) % step:
        raise ConfigError(
            f"a job array of {count} tasks from {low} to {high} is not evenly numbered", _HINT
        )
    return Shard((task - low) // step, count)
