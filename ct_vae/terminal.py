r"""Printing on standard output and standard error, with control characters escaped.

File names and metadata may contain newlines, terminal escape sequences, or marks that reverse the
direction of text. All output of this package goes through this module, which writes such characters
as ``\n``, ``\x1b`` or ``\u202e``.
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
    """Print one line of results on standard output."""
    _write(sys.stdout, text)


def show_text(text: str) -> None:
    """Print text of several lines, such as a schema, on standard output."""
    _write(sys.stdout, *text.splitlines())


def show_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as JSON on standard output."""
    show_text(json.dumps(value, indent=indent))


def say(text: object) -> None:
    """Print one line of progress or a message on standard error."""
    _write(sys.stderr, text)


class SafeConsole(Console):
    """A rich console that escapes control characters but keeps styles.

    Newlines are kept for the layout; escape names in table cells with `printable` first.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render like rich, with the text of every segment escaped."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text == "\n":
                yield segment
            else:
                lines = [printable(line) for line in segment.text.split("\n")]
                yield Segment("\n".join(lines), segment.style)


def guard_streams() -> None:
    """Replace standard output and standard error by streams that handle write errors.

    Output to a closed pipe is dropped, so that ``ct-vae scan | head`` finishes its work. A full
    disk raises one OutputError on standard output, and is ignored on standard error. Characters
    that the encoding does not support are escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Test runners and notebooks replace the streams.
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
            setattr(sys, name, _guarded(stream, silent=name == "stderr"))
        else:
            stream.reconfigure(errors="backslashreplace")


def flush_streams() -> None:
    """Flush standard output and standard error.

    Raises:
        OutputError: If writing to standard output fails.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _write(stream: TextIO | None, *lines: object) -> None:
    # The stream is None if the process was started without it.
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
    """A file descriptor that drops output after a write error."""

    def __init__(self, descriptor: int, silent: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._silent, self._failed = silent, False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write data, or drop it after an earlier error.

        Raises:
            OutputError: If the first write to standard output fails, unless the pipe is closed.
        """
        size = memoryview(data).nbytes
        if self._failed:
            return size
        try:
            return super().write(data)
        except BrokenPipeError:
            self._failed = True
        except OSError as error:
            # Buffered output must not fail again when the interpreter exits.
            self._failed = True
            if not self._silent:
                raise OutputError(
                    f"cannot write to standard output: {error.strerror}",
                    "send it to a disk with free space",
                ) from error
        return size
