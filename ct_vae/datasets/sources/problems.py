"""Common error for all problems with the data of a run."""

from __future__ import annotations

from collections.abc import Sequence

from ct_vae.errors import ConfigError, CtVaeError, InputError

_SHOWN = 20
# Errors of readers mention options of the command line that training does not have.
_OPTIONS = "give such options to 'ct-vae scan -o LIST.json', which stores them in its datalist"


def refuse(problems: Sequence[CtVaeError], where: str = "data") -> None:
    """Raise all problems, if there are any, as one error on one line.

    Raises:
        InputError: If all problems are damaged or refused volumes.
        ConfigError: If there are other problems.
    """
    if not problems:
        return
    kind = InputError if all(isinstance(p, InputError) for p in problems) else ConfigError
    notes = [_OPTIONS] if any("; --" in str(problem) for problem in problems) else []
    if len(problems) == 1:
        hints = [problems[0].hint] if problems[0].hint else []
        raise kind(f"{where}: {problems[0].cause}", "; ".join(hints + notes))
    more = f" | and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    lines = " | ".join(str(problem) for problem in problems[:_SHOWN])
    raise kind(f"{where}: {len(problems)} problems: {lines}{more}", "".join(notes))
