"""The bytes of one file, decompressed and checked, which must end exactly where they should."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import numpy as np
from isal import igzip, isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from ct_vae.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Encoding = Literal["raw", "gzip", "zlib"]
GZIP_MAGIC = b"\x1f\x8b"

_CHUNK_BYTES = 1 << 20
# Deflate cannot shrink anything by more than this (258 bytes in two bits).
_LARGEST_RATIO = 1032
# How either library says so, and that the data end in the middle of a stream.
_DAMAGE = (gzip.BadGzipFile, cast("type[Exception]", IsalError), zlib.error, EOFError)


class ByteStream:
    """A reader that returns exactly what was asked for or raises.

    Args:
        file: An open file, positioned where its payload starts.
        stored: Number of bytes from there to the end of the file.
        encoding: How the payload is compressed.
    """

    def __init__(self, file: BinaryIO, stored: int, encoding: Encoding) -> None:
        source: io.RawIOBase | BinaryIO = file
        if encoding == "gzip":
            source = cast("BinaryIO", igzip.IGzipFile(fileobj=file, mode="rb"))
        elif encoding == "zlib":
            source = _ZlibReader(file)
        self._reader = io.BufferedReader(cast("io.RawIOBase", source), _CHUNK_BYTES)
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

    def finish(self) -> None:
        """Confirm that nothing follows and that the checksum at the end of the stream is right.

        Raises:
            InputError: If it does not, or there is more.
        """
        try:
            surplus = self._reader.read(1)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        if surplus:
            raise InputError(
                f"holds more than the {self._position} bytes that its header declares",
                "the header does not belong to these voxels: export the image again",
            )

    def drain(self, limit: int) -> None:
        """Pass over all that is left, checking the end of a compressed stream.

        Raises:
            InputError: If the stream is damaged, or holds more than ``limit`` bytes.
        """
        try:
            while data := self._reader.read(_CHUNK_BYTES):
                self._position += len(data)
                if self._position > limit:
                    raise InputError(f"holds more than {limit} bytes")
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

    def _damaged(self, error: Exception) -> InputError:
        if isinstance(error, EOFError):
            state = f"is truncated: its compressed data end after {self._position} good bytes"
        else:
            state = f"is damaged: decompressing failed after {self._position} bytes ({error})"
        return InputError(state, "copy or download it again")


class _ZlibReader(io.RawIOBase):
    """Decompresses one zlib (or gzip) stream, checking its end and that nothing follows it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # 32 more than the window size: either kind of header is recognised.
        self._inflate = isal_zlib.decompressobj(wbits=47)

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        view = memoryview(target)
        while not self._inflate.eof:
            fed = self._inflate.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            data = self._inflate.decompress(fed, len(view))
            if data:
                view[: len(data)] = data
                return len(data)
            if not fed and not self._inflate.eof:
                raise EOFError
        if self._inflate.unused_data or self._file.read(1):
            raise zlib.error("bytes follow the end of the compressed data")
        return 0
