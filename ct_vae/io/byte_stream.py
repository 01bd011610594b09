"""Reading of raw or compressed bytes of a file with checks of their length and checksum."""

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
# Followed by the only method of compression.
_MEMBER = b"\x1f\x8b\x08"

_CHUNK_BYTES = 1 << 20
# Deflate cannot shrink anything by more than this (258 bytes in two bits).
_LARGEST_RATIO = 1032
# Exceptions of both libraries for damaged data, and EOFError for truncated data.
_DAMAGE = (cast("type[Exception]", IsalError), zlib.error, EOFError)
# Padding and notes that programs write after the voxels are smaller; more is another image.
_LARGEST_SURPLUS = 1 << 16


class ByteStream:
    """Reader that returns exactly the requested number of bytes or raises.

    Args:
        file: An open file, positioned at the start of its payload.
        stored: Number of bytes from there to the end of the file.
        encoding: Compression of the payload.
    """

    def __init__(self, file: BinaryIO, stored: int, encoding: Encoding) -> None:
        self._inflate = None if encoding == "raw" else _InflateReader(file, encoding == "gzip")
        source = self._inflate or cast("io.RawIOBase", file)
        self._reader = io.BufferedReader(source, _CHUNK_BYTES)
        self._encoding = encoding
        self._stored = stored
        self._position = 0

    def peek(self, count: int) -> bytes:
        """Return at most the next ``count`` bytes without advancing; fewer at the end of the file.

        Raises:
            InputError: If the compressed stream is damaged.
        """
        try:
            return self._reader.peek(count)[:count]
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            InputError: If the stream is damaged or truncated.
        """
        return self.array(count, np.dtype(np.uint8)).tobytes()

    def array(self, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return the next ``count`` items as a flat array.

        Raises:
            InputError: If the stream is damaged or truncated, or cannot hold as many bytes.
        """
        wanted = self._position + count * dtype.itemsize
        self.check_possible(wanted)
        items: NDArray[np.generic] = np.empty(count, dtype)
        target = memoryview(items.view(np.uint8).data)
        for start in range(0, len(target), _CHUNK_BYTES):
            self._fill(target[start : start + _CHUNK_BYTES], wanted)
        return items

    def skip(self, count: int) -> None:
        """Decode and discard ``count`` bytes.

        Raises:
            InputError: If the stream is damaged or truncated.
        """
        wanted = self._position + count
        self.check_possible(wanted)
        scratch = memoryview(bytearray(min(count, _CHUNK_BYTES)))
        while self._position < wanted:
            self._fill(scratch[: wanted - self._position], wanted)

    def check_possible(self, wanted: int) -> None:
        """Check, before memory is allocated, that this file can hold ``wanted`` bytes.

        Raises:
            InputError: If the file is too small even with the best possible compression.
        """
        limit = self._stored * (1 if self._encoding == "raw" else _LARGEST_RATIO)
        if wanted > limit:
            size = f"{self._stored} bytes"
            if self._encoding != "raw":
                size += f", which decompress to at most {limit}"
            raise InputError(
                f"is truncated: its header declares {wanted} bytes, but the file has {size}",
                "copy or download it again",
            )

    @property
    def trailing(self) -> int:
        """Number of bytes after the end of the compressed data, once that has been reached."""
        return self._inflate.trailing if self._inflate else 0

    def finish(self, shape: Sequence[int], itemsize: int) -> str:
        """Check the end of the stream and the bytes after the voxels.

        Args:
            shape: Shape of the array that was read.
            itemsize: Bytes per item.

        Returns:
            A note about ignored bytes, or ``""`` if there are none.

        Raises:
            InputError: If the stream is damaged, or if the remaining bytes are complete slices
                along any axis or more than all voxels: the header belongs to another image.
        """
        declared = self._position
        members = self._inflate.members if self._inflate else 0
        try:
            self.drain(declared + max(declared, _LARGEST_SURPLUS), declared)
        except _DamageError as error:
            # Bytes after the gzip member of the last voxel may look like another member.
            if self._inflate is None or self._inflate.members == members:
                raise
            return f"the bytes after the voxels are damaged and were ignored ({error.cause})"
        surplus = self._position - declared
        slices = (math.prod(shape) // side * itemsize for side in shape)
        if surplus and any(surplus % size == 0 for size in slices):
            raise _surplus(declared)
        extra = surplus + self.trailing
        return f"bytes after the voxels were ignored: {extra}" if extra else ""

    def drain(self, limit: int, declared: int | None = None) -> None:
        """Decode and discard the rest, and check the end of a compressed stream.

        Args:
            limit: Largest permitted number of bytes of the whole stream.
            declared: Expected number of bytes, for the message.

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
    """Compressed data are damaged or truncated."""


def _surplus(declared: int) -> InputError:
    return InputError(
        f"holds more than the {declared} bytes that its header declares",
        "the header does not belong to these voxels: export the image again",
    )


class _InflateReader(io.RawIOBase):
    """Decompressor of deflated data that checks their end and counts the bytes after it.

    Args:
        file: Positioned at the start of the data.
        several: Join consecutive gzip members and skip zeros after them; otherwise read one stream
            with a gzip or zlib header.

    Attributes:
        members: Number of streams begun.
        trailing: Number of bytes after the last one, once that has been reached.
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
        # Window size plus 32: gzip or zlib header; plus 16: gzip header.
        return isal_zlib.decompressobj(wbits=31 if self._several else 47)

    def _begin_member(self) -> bool:
        """Begin the next gzip member; return False if there is none."""
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
