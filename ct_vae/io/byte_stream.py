"""The bytes of one file, decompressed and checked to their end."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from ct_vae.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Encoding = Literal["raw", "gzip", "zlib"]
GZIP_MAGIC = b"\x1f\x8b"
# With the only method of compression that there is.
_MEMBER = b"\x1f\x8b\x08"

_CHUNK_BYTES = 1 << 20
# Deflate cannot shrink anything by more than this (258 bytes in two bits).
_LARGEST_RATIO = 1032
# How either library says so, and that the data end in the middle of a stream.
_DAMAGE = (cast("type[Exception]", IsalError), zlib.error, EOFError)
# Padding and notes that programs leave behind the voxels are not larger; more is another image.
_LARGEST_SURPLUS = 1 << 16


class ByteStream:
    """A reader that returns exactly what was asked for or raises.

    Args:
        file: An open file, positioned where its payload starts.
        stored: Number of bytes from there to the end of the file.
        encoding: How the payload is compressed.
    """

    def __init__(self, file: BinaryIO, stored: int, encoding: Encoding) -> None:
        self._inflate = None if encoding == "raw" else _InflateReader(file, encoding == "gzip")
        source = self._inflate or cast("io.RawIOBase", file)
        self._reader = io.BufferedReader(source, _CHUNK_BYTES)
        self._encoding = encoding
        self._stored = stored
        self._position = 0

    def peek(self, count: int) -> bytes:
        """At most ``count`` coming bytes, fewer at the end of the file.

        Raises:
            InputError: If the compressed stream is damaged.
        """
        try:
            return self._reader.peek(count)[:count]
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            InputError: If the stream is damaged or ends before that.
        """
        return self.array(count, np.dtype(np.uint8)).tobytes()

    def array(self, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """The next ``count`` items as a flat array.

        Raises:
            InputError: If the stream is damaged, ends before that, or could not hold as much.
        """
        wanted = self._position + count * dtype.itemsize
        self.check_possible(wanted)
        items: NDArray[np.generic] = np.empty(count, dtype)
        target = memoryview(items.view(np.uint8).data)
        for start in range(0, len(target), _CHUNK_BYTES):
            self._fill(target[start : start + _CHUNK_BYTES], wanted)
        return items

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes, decoding them.

        Raises:
            InputError: If the stream is damaged or ends before that.
        """
        wanted = self._position + count
        self.check_possible(wanted)
        scratch = memoryview(bytearray(min(count, _CHUNK_BYTES)))
        while self._position < wanted:
            self._fill(scratch[: wanted - self._position], wanted)

    def check_possible(self, wanted: int) -> None:
        """Refuse before anything is allocated if this file cannot hold ``wanted`` bytes.

        Raises:
            InputError: If even the best compression could not fit them into the file.
        """
        limit = self._stored * (1 if self._encoding == "raw" else _LARGEST_RATIO)
        if wanted > limit:
            size = f"{self._stored} bytes"
            if self._encoding != "raw":
                size += f", which decompress to {limit} at the very most"
            raise InputError(
                f"is truncated: its header declares {wanted} bytes, but the file has {size}",
                "copy or download it again",
            )

    @property
    def trailing(self) -> int:
        """Bytes that follow the end of the compressed data, known once they have been read."""
        return self._inflate.trailing if self._inflate else 0

    def finish(self, shape: Sequence[int], itemsize: int) -> str:
        """Check the end of the stream, and look at what follows the voxels.

        Args:
            shape: Sides of the array whose items were read last.
            itemsize: Bytes of an item.

        Returns:
            A note about bytes that belong to nothing, or ``""`` if there are none.

        Raises:
            InputError: If the stream is damaged, or what follows are whole slices along any axis
                or more than all voxels: the header is not that of these voxels then.
        """
        declared = self._position
        members = self._inflate.members if self._inflate else 0
        try:
            self.drain(declared + max(declared, _LARGEST_SURPLUS), declared)
        except _DamageError as error:
            # What follows the member of the last voxel may look like another one.
            if self._inflate is None or self._inflate.members == members:
                raise
            return f"what follows the voxels is damaged and was ignored ({error.cause})"
        surplus = self._position - declared
        slices = (math.prod(shape) // side * itemsize for side in shape)
        if surplus and any(surplus % size == 0 for size in slices):
            raise _surplus(declared)
        extra = surplus + self.trailing
        return f"bytes after the voxels were ignored: {extra}" if extra else ""

    def drain(self, limit: int, declared: int | None = None) -> None:
        """Pass over all that is left, checking the end of a compressed stream.

        Args:
            limit: Bytes of the whole stream that are too many.
            declared: Bytes that there should be, for the message.

        Raises:
            InputError: If the stream is damaged, or holds more than ``limit`` bytes.
        """
        try:
            while data := self._reader.read1(_CHUNK_BYTES):
                self._position += len(data)
                if self._position > limit:
                    raise _surplus(limit if declared is None else declared)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _fill(self, target: memoryview, wanted: int) -> None:
        filled = 0
        while filled < len(target):
            try:
                count = self._reader.readinto(target[filled:])
            except _DAMAGE as error:
                raise self._damaged(error) from error
            if not count:
                raise InputError(
                    f"is truncated: expected {wanted} bytes, got {self._position}",
                    "copy or download it again",
                )
            filled += count
            self._position += count

    def _damaged(self, error: Exception) -> _DamageError:
        if isinstance(error, EOFError):
            state = f"is truncated: its compressed data end after {self._position} good bytes"
        else:
            state = f"is damaged: decompressing failed after {self._position} bytes ({error})"
        return _DamageError(state, "copy or download it again")


class _DamageError(InputError):
    """Compressed data that cannot be decompressed to their end."""


def _surplus(declared: int) -> InputError:
    return InputError(
        f"holds more than the {declared} bytes that its header declares",
        "the header does not belong to these voxels: export the image again",
    )


class _InflateReader(io.RawIOBase):
    """Decompresses deflated data, checking their end, and counts the bytes that follow it.

    Args:
        file: Positioned where the data begin.
        several: Take gzip members that follow each other for one stream, and pass over zeros
            after them; otherwise one stream with either kind of header is read.

    Attributes:
        members: How many streams have begun.
        trailing: Bytes after the last one, known once it has been read.
    """

    def __init__(self, file: BinaryIO, several: bool) -> None:
        self._file = file
        self._several = several
        self._inflate = self._engine()
        self._fed = b""
        self._at_end = False
        self.members = 1
        self.trailing = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        view = memoryview(target)
        while not self._inflate.eof or self._begin_member():
            fed = self._fed or self._inflate.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            self._fed = b""
            data = self._inflate.decompress(fed, len(view))
            if data:
                view[: len(data)] = data
                return len(data)
            if not fed and not self._inflate.eof:
                raise EOFError
        return 0

    def _engine(self) -> Any:
        # 32 more than the window size: either kind of header is recognised; 16 more: gzip.
        return isal_zlib.decompressobj(wbits=31 if self._several else 47)

    def _begin_member(self) -> bool:
        """Begin the stream that follows one that has ended, if there is one."""
        if self._at_end:
            return False
        rest = self._inflate.unused_data
        while len(rest := rest.lstrip(b"\0") if self._several else rest) < len(_MEMBER):
            more = self._file.read(_CHUNK_BYTES)
            if not more:
                break
            rest += more
        if self._several and rest.startswith(_MEMBER):
            self._inflate, self._fed = self._engine(), rest
            self.members += 1
            return True
        self._at_end = True
        here = self._file.tell()
        self.trailing = len(rest) + self._file.seek(0, io.SEEK_END) - here
        return False
