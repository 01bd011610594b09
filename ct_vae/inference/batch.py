"""Many cases with one model: a failed case is written down, the rest is finished."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ct_vae.errors import ConfigError, CtVaeError, OutputError
from ct_vae.io.atomic import write_text
from ct_vae.io.discover import Case

FAILURES = "failures.jsonl"
SEVERAL_FAILED = 8
# What is wrong with one output name and not with the folder.
_ONE_NAME_ONLY = {errno.ENAMETOOLONG, errno.EISDIR}


@dataclass(frozen=True)
class Failure:
    """A case that could not be done."""

    case: str
    stage: str
    cause: str
    hint: str


def run_batch(
    cases: Sequence[Case],
    work: Callable[[Case], None],
    stage: str,
    folder: Path,
    report: Callable[[str], None],
) -> int:
    """Do every case; refused ones are listed in ``failures.jsonl`` of ``folder``.

    Args:
        cases: What to do.
        work: Does one case.
        stage: Name of the work, for the list of failures.
        folder: Where results go.
        report: Takes one line for every failure.

    Returns:
        Exit code: 0, that of the error when the only case failed, or 8 when some of several did.

    Raises:
        OutputError: If results cannot be written; the cases after it would meet the same fate.
        ConfigError: If settings do not work; they are the same for all cases.
    """
    failures: list[Failure] = []
    code = 0
    others = _of_other_stages(folder / FAILURES, stage)
    for case in cases:
        try:
            work(case)
        except CtVaeError as error:
            if _concerns_all(error):
                raise
            code = error.exit_code
            failures.append(Failure(str(case.path), stage, error.cause, error.hint))
            write_text(folder / FAILURES, others + _lines(failures))
            report(f"error: {error}")
    return SEVERAL_FAILED if failures and len(cases) > 1 else code


def _concerns_all(error: CtVaeError) -> bool:
    cause = error.__cause__
    if isinstance(error, OutputError):
        return not (isinstance(cause, OSError) and cause.errno in _ONE_NAME_ONLY)
    return isinstance(error, ConfigError)


def _of_other_stages(path: Path, stage: str) -> str:
    """Lines that other work has left, without those that speak of cases done anew."""
    try:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if json.loads(line)["stage"] != stage]
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write into {path.parent}: {error.strerror}", "choose another folder"
        ) from error
    except (ValueError, KeyError, TypeError):
        kept = []
    if kept:
        write_text(path, "".join(kept))
    return "".join(kept)


def _lines(failures: Iterable[Failure]) -> str:
    return "".join(json.dumps(asdict(f)) + "\n" for f in failures)
