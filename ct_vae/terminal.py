r"""Printing on standard output and standard error, with control characters escaped.

File names and metadata may contain newlines, terminal escape sequences, or marks that reverse the
direction of text. All output of this package goes through this module, which writes such characters
as ``\n``, ``\x1b`` or ``\u202e``.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from ct_vae.errors import OutputError, printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "flush_streams",
    "guard_streams",
    "is_quiet",
    "is_warning",
    "printable",
    "printing_by",
    "quiet",
    "say",
    "show",
    "show_json",
    "show_text",
    "shows_bars",
    "without_bars",
]


@dataclass
class _Messages:
    """State of message printing, common to all threads."""

    write: Callable[[str], None] | None = None
    hide: Callable[[], AbstractContextManager[None]] = nullcontext
    quiet: bool = False


_messages = _Messages()
_KEPT_IF_QUIET = ("error:", "warning:")


@contextmanager
def printing_by(
    write: Callable[[str], None], hide: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Print lines by a function inside the block, if they would go to the terminal.

    Args:
        write: Function that prints one line, for example above a progress bar.
        hide: Makes a context in which the bar is hidden.
    """
    before = _messages.write, _messages.hide
    _messages.write, _messages.hide = write, hide
    try:
        yield
    finally:
        _messages.write, _messages.hide = before


def without_bars() -> AbstractContextManager[None]:
    """Return a context in which progress bars are hidden, to print a table by another console."""
    return _messages.hide()


@contextmanager
def quiet() -> Iterator[None]:
    """Print only warnings and errors as messages inside the block; results are still printed."""
    before, _messages.quiet = _messages.quiet, True
    try:
        yield
    finally:
        _messages.quiet = before


def is_quiet() -> bool:
    """Return True inside `quiet`."""
    return _messages.quiet


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
    if not _messages.quiet or is_warning(str(text)):
        _write(sys.stderr, text)


def is_warning(text: str) -> bool:
    """Return True if a message is printed even if others are not."""
    return text.startswith(_KEPT_IF_QUIET)


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
    if stream is None:
        return
    if _messages.write is not None and (stream is sys.stderr or stream.isatty()):
        for line in lines:
            _messages.write(printable(str(line)))
    else:
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


def shows_bars() -> bool:
    """Return True if standard error is a terminal that can redraw lines.

    Of the processes that torchrun starts, only the first draws bars.
    """
    if os.environ.get("RANK", "0") != "0":
        return False
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


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
