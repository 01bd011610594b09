"""Errors that a user can cause, each with the exit code of the command line."""

from __future__ import annotations

import unicodedata


class CtVaeError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        cause: What is wrong, where, and with which values, as one line without a full stop.
        hint: What to do next, as one line without a full stop; may be empty.
    """

    exit_code = 1

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(cause, hint)
        self.cause = printable(cause.strip())
        self.hint = printable(hint.strip())

    def __str__(self) -> str:
        return f"{self.cause}; {self.hint}" if self.hint else self.cause


def printable(text: str) -> str:
    """Escape what a terminal would obey or cannot show, such as newlines in the name of a file.

    Spaces of every width stay. Text that is printable already is returned as it is.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


class ConfigError(CtVaeError):
    """A configuration, option or combination of settings that cannot be run."""

    exit_code = 2


class NoInputError(CtVaeError):
    """Nothing that could be worked on was found."""

    exit_code = 3


class InputError(CtVaeError):
    """An input that is corrupt, or that is refused because its result would be wrong."""

    exit_code = 4


class WeightsError(CtVaeError):
    """A model folder or weights file that is corrupt, incomplete or of another architecture."""

    exit_code = 4


class OutputError(CtVaeError):
    """A result that could not be written; nothing half-written has been left."""

    exit_code = 7


class StoppedError(CtVaeError):
    """A run that was asked to stop and has saved all that it needs to go on."""

    exit_code = 75
