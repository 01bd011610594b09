"""Errors that a user can cause, with their exit codes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


class CtVaeError(Exception):
    """Base class of all errors that this package raises on purpose.

    Args:
        cause: One line without a full stop: what is wrong, where, and with which values.
        hint: One line without a full stop: what to do next. May be empty.
        details: Several things that are wrong, each as one line; optional.
    """

    exit_code = 1

    def __init__(self, cause: str, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(cause, hint, details)
        self.cause = printable(cause.strip())
        self.hint = printable(hint.strip())
        self.details = tuple(printable(each.strip()) for each in details)

    def __str__(self) -> str:
        found = f"{self.cause}: {' | '.join(self.details)}" if self.details else self.cause
        return f"{found}; {self.hint}" if self.hint else found

    def lines(self) -> tuple[str, ...]:
        """Return the message as lines: cause and hint, then each detail with its number."""
        first = f"{self.cause}; {self.hint}" if self.hint else self.cause
        return (first, *(f"  {n}. {text}" for n, text in enumerate(self.details, 1)))


def printable(text: str) -> str:
    """Escape characters that a terminal would interpret or cannot show, such as newlines.

    Spaces of any width are kept.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def renamed_error(error: CtVaeError, path: str, name: str) -> CtVaeError:
    """Return an error whose message has a name instead of a path.

    Args:
        error: The error.
        path: Path of a temporary file.
        name: Name under which the user knows the file.
    """
    texts = (error.cause, error.hint)
    cause, hint = (text.replace(path, name) for text in texts)
    return type(error)(cause, hint, [each.replace(path, name) for each in error.details])


def value_message(text: str) -> str:
    """Return the message of an error found by pydantic without its prefix for ValueError."""
    return text.removeprefix("Value error, ")


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


class ConfigError(CtVaeError):
    """Invalid configuration, option, or combination of settings."""

    exit_code = 2


class NoInputError(CtVaeError):
    """No usable input was found."""

    exit_code = 3


class InputError(CtVaeError):
    """Input that is corrupt, or refused because the result would be wrong."""

    exit_code = 4


class WeightsError(CtVaeError):
    """Model folder or weights file that is corrupt, incomplete or of another architecture."""

    exit_code = 4


class OutputError(CtVaeError):
    """Result that could not be written; no partial file remains."""

    exit_code = 7


class StoppedError(CtVaeError):
    """Run that was stopped by a signal after saving its state."""

    exit_code = 75
