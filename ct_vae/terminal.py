r"""Standard output and standard error: what is shown is escaped, and streams that fail are told.

Names of files and metadata of other programs may hold newlines, escape sequences that a terminal
obeys, or marks that reverse the direction of text. Every line that this package shows goes through
this module, which writes such characters as ``\n``, ``\x1b`` or ``\u202e``.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ct_vae.errors import OutputError, printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "SafeConsole",
    "flush_streams",
    "guard_streams",
    "printable",
    "say",
    "show",
    "show_json",
    "show_text",
]


def show(text: object) -> None:
    """Print one line of a result on standard output."""
    _write(sys.stdout, text)


def show_text(text: str) -> None:
    """Print text of several lines that has no foreign names in it, such as a schema."""
    _write(sys.stdout, *text.splitlines())


def show_json(value: Any, indent: int | None = 2) -> None:
    """Print JSON, which escapes what a terminal would obey by its own rules."""
    show_text(json.dumps(value, indent=indent))


def say(text: object) -> None:
    """Print one line about the work on standard error."""
    _write(sys.stderr, text)


class SafeConsole(Console):
    """A console of rich that escapes whatever is printed on it; its own styles stay.

    Newlines are left to the layout: a name in a cell of a table is escaped by `printable` first.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, with the text of every segment escaped."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text == "\n":
                yield segment
            else:
                lines = [printable(line) for line in segment.text.split("\n")]
                yield Segment("\n".join(lines), segment.style)


def guard_streams() -> None:
    """Replace standard output and standard error by streams that fail in an orderly way.

    A pipe that nobody reads any more takes the rest and drops it, so that ``ct-vae scan | head``
    finishes its work. A disk that is full raises one OutputError on standard output, and is passed
    over on standard error. Characters that the encoding lacks are escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Test runners and notebooks put objects of their own there.
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
            setattr(sys, name, _guarded(stream, silent=name == "stderr"))
        else:
            stream.reconfigure(errors="backslashreplace")


def flush_streams() -> None:
    """Bring everything to where it goes.

    Raises:
        OutputError: If standard output does not take it.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _write(stream: TextIO | None, *lines: object) -> None:
    # It is absent where a process has been started without it.
    if stream is not None:
        stream.write("".join(f"{printable(str(line))}\n" for line in lines))
        stream.flush()


def _guarded(stream: io.TextIOWrapper, silent: bool) -> io.TextIOWrapper:
    stream.flush()
    raw = _GuardedFile(stream.fileno(), silent)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or silent,
    )


class _GuardedFile(io.FileIO):
    """A file descriptor that takes everything and drops it once it has failed."""

    def __init__(self, descriptor: int, silent: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._silent, self._failed = silent, False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or drop what nobody can read.

        Raises:
            OutputError: If the first write to standard output fails, unless its reader has gone.
        """
        size = memoryview(data).nbytes
        if self._failed:
            return size
        try:
            return super().write(data)
        except BrokenPipeError:
            self._failed = True
        except OSError as error:
            # What is left in buffers must not fail again when the interpreter ends.
            self._failed = True
            if not self._silent:
                raise OutputError(
                    f"cannot write to standard output: {error.strerror}",
                    "send it to a disk with free space",
                ) from error
        return size
