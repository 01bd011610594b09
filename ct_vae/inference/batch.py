"""Many cases with one model: a failed case is written down, the rest is finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ct_vae.errors import CtVaeError, OutputError
from ct_vae.io.atomic import write_text
from ct_vae.io.discover import Case

FAILURES = "failures.jsonl"
SEVERAL_FAILED = 8


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
    """
    failures: list[Failure] = []
    code = 0
    _forget(folder / FAILURES)
    for case in cases:
        try:
            work(case)
        except OutputError:
            raise
        except CtVaeError as error:
            code = error.exit_code
            failures.append(Failure(str(case.path), stage, error.cause, error.hint))
            write_text(folder / FAILURES, _lines(failures))
            report(f"error: {error}")
    return SEVERAL_FAILED if failures and len(cases) > 1 else code


def _forget(failures: Path) -> None:
    """Remove the list of an earlier run, which would speak of cases that are done by now."""
    try:
        failures.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write into {failures.parent}: {error.strerror}", "choose another folder"
        ) from error


def _lines(failures: Iterable[Failure]) -> str:
    return "".join(json.dumps(asdict(f), ensure_ascii=False) + "\n" for f in failures)
