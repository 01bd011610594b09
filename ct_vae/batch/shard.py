"""Division of cases among several processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ct_vae.errors import ConfigError
from ct_vae.find_volumes.cases import Case
from ct_vae.inference.device import environment_number

_ARRAY = "SLURM_ARRAY_TASK_"
# Indices of array jobs whose systems do not tell the number of tasks, and the first index.
_INDICES = {
    "JOB_COMPLETION_INDEX": 0,
    "PBS_ARRAY_INDEX": 0,
    "PBS_ARRAYID": 0,
    "LSB_JOBINDEX": 1,
    "SGE_TASK_ID": 1,
    f"{_ARRAY}ID": 0,
}
_HINT = "give --shard i/n, with i from 0 to n - 1, or --shard 0/1 for all cases"


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count`` parts, from 0.

    Raises:
        ConfigError: If ``index`` is out of range.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"there is no shard {self}", _HINT)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, cases: Sequence[Case]) -> list[Case]:
        """Return every ``count``-th of the sorted cases, so that each is in exactly one shard."""
        ordered = sorted(cases, key=lambda case: (case.key, case.source))
        return list(islice(ordered, self.index, None, self.count))


def choose_shard(text: str | None, environment: Mapping[str, str]) -> Shard:
    """Return the given shard, or that of this process according to the environment.

    ``RANK`` and ``WORLD_SIZE`` are set by torchrun, ``SLURM_ARRAY_TASK_*`` by job arrays. If the
    tasks of an array start torchrun, cases are divided among all processes. With ``env/n``, the
    index is that of an array job of Kubernetes (indexed), PBS, LSF, Grid Engine or SLURM with
    ``n`` tasks; LSF and Grid Engine count from 1, the others from 0.

    Raises:
        ConfigError: If the text or the environment is invalid.
    """
    if text is not None and text.startswith("env/"):
        return _of_index(text, environment)
    if text is not None:
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found:
            raise ConfigError(f"--shard {text} is not a shard", _HINT)
        return Shard(int(found[1]), int(found[2]))
    task, rank = _of_array(environment), _of_ranks(environment)
    return Shard(task.index * rank.count + rank.index, task.count * rank.count)


def _of_index(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard ``env/n`` of an array job."""
    count = text.removeprefix("env/")
    # Jobs without an array have no index, or one below the first or "undefined".
    name = next((n for n, first in _INDICES.items() if _index(environment, n) >= first), None)
    if not count.isdecimal() or name is None:
        names = ", ".join(_INDICES)
        raise ConfigError(
            f"--shard {text}: needs the number of tasks, and an array job that sets one of {names}",
            _HINT,
        )
    return Shard(_index(environment, name) - _INDICES[name], int(count))


def _index(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else -1


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
    # SLURM sets a step even for irregular arrays such as 1,2,7.
    step = (high - low) // (count - 1) if count > 1 else 1
    if step < 1 or high - low != step * (count - 1) or (task - low) % step:
        raise ConfigError(
            f"a job array of {count} tasks from {low} to {high} is not evenly numbered", _HINT
        )
    return Shard((task - low) // step, count)
