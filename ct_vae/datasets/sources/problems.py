"""All that is wrong with the data of a run, told at once."""

from __future__ import annotations

from collections.abc import Sequence

from ct_vae.errors import ConfigError, CtVaeError, InputError

_SHOWN = 20
# Readers name options of the command line, which training does not have.
_OPTIONS = "such options belong to 'ct-vae scan -o LIST.json', whose datalist notes them"


def refuse(problems: Sequence[CtVaeError], where: str = "data") -> None:
    """Raise every problem as one error on one line; nothing happens if there is none.

    Raises:
        InputError: If volumes are damaged or refused, and nothing else is wrong.
        ConfigError: If anything else is wrong.
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
