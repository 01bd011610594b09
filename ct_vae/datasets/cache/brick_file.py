"""Writing a volume in bricks, and reading boxes of it with a few large reads."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ct_vae.datasets.cache.brick_layout import BrickLayout
from ct_vae.errors import InputError
from ct_vae.grid import Triple
from ct_vae.io.atomic.file import atomic_write
from ct_vae.volume import BODY_ABOVE_HU


@dataclass(frozen=True)
class BrickFile:
    """File with a volume in bricks, see `BrickLayout`.

    A file is opened for each read: open files take descriptors, and a run may have more cases than
    descriptors. Bytes are read instead of mapped, so that a disk error or a truncated file is an
    error of Python and not a signal that ends the process. All processes of a machine share the
    copy of the system's page cache.

    Attributes:
        path: The file.
        layout: Positions of the voxels in the file.
    """

    path: Path
    layout: BrickLayout

    def read_box(self, low: Triple, high: Triple) -> NDArray[np.int16]:
        """Return the voxels of the box ``low <= i < high``, which is not empty, inside the volume.

        Raises:
            InputError: If the file is missing, truncated or cannot be read.
        """
        columns = list(self.layout.meeting(low, high))
        spans = [column.span(low[0], high[0]) for column in columns]
        box = np.empty([b - a for a, b in zip(low, high, strict=True)], np.int16)
        buffer = np.empty(max(count for _, count in spans) // 2, "<i2")
        with self._opened() as descriptor:
            _announce(descriptor, spans)
            for column, (offset, count) in zip(columns, spans, strict=True):
                part = buffer[: count // 2]
                _read(descriptor, part, offset)
                planes = part.reshape(len(box), *column.sides)
                inside, target = zip(*_overlaps(column.low, column.sides, low, high), strict=True)
                box[:, *target] = planes[:, *inside]
        return box

    def read_body(self, plane: int) -> NDArray[np.bool_]:
        """Return the mask ``(Y, Z)`` of the voxels above -500 HU in a plane of the first axis.

        Raises:
            InputError: If the file is missing, truncated or cannot be read.
        """
        offset, count = self.layout.mask_span(plane)
        packed = np.empty(count, np.uint8)
        with self._opened() as descriptor:
            _announce(descriptor, [(offset, count)])
            _read(descriptor, packed, offset)
        _, *sides = self.layout.shape
        return np.unpackbits(packed, count=math.prod(sides)).view(np.bool_).reshape(sides)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except (OSError, EOFError) as error:
            raise self.unreadable(error) from error

    def unreadable(self, reason: object) -> InputError:
        """Return the error for a file that was valid at the start of the run."""
        return InputError(
            f"{self.path}: this entry of the cache can no longer be read: {reason}",
            "run the same command again to restore it",
        )


def write_bricks(path: Path, voxels: NDArray[np.int16]) -> str:
    """Write a volume in bricks atomically and return the SHA-256 of the file.

    Raises:
        OutputError: If the file cannot be written in full.
    """
    digest = hashlib.sha256()
    with atomic_write(path) as file:
        for part in _content(voxels):
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


def _content(voxels: NDArray[np.int16]) -> Iterator[bytes | memoryview]:
    """Yield the content of a file in parts."""
    x, y, z = voxels.shape
    layout = BrickLayout((x, y, z))
    yield layout.header
    for plane in voxels:
        yield np.packbits(plane > BODY_ABOVE_HU).tobytes()
    end = sum(layout.mask_span(x - 1))
    for column in layout.columns():
        yield bytes(column.offset - end)
        (a, b), (c, d) = column.low, column.sides
        yield np.ascontiguousarray(voxels[:, a : a + c, b : b + d], "<i2").data.cast("B")
        end = sum(column.span(0, x))


def _announce(descriptor: int, spans: list[tuple[int, int]]) -> None:
    """Have the system fetch all spans at once, and no more than these."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        if len(spans) > 1:
            for offset, count in spans:
                os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_WILLNEED)


def _read(descriptor: int, array: NDArray[np.int16] | NDArray[np.uint8], offset: int) -> None:
    """Fill a contiguous array with the bytes at an offset."""
    left = array.data.cast("B")
    while left:
        count = os.preadv(descriptor, [left], offset)
        if count == 0:
            raise EOFError("it has been truncated")
        left, offset = left[count:], offset + count


def _overlaps(
    start: tuple[int, int], sides: tuple[int, int], low: Triple, high: Triple
) -> Iterator[tuple[slice, slice]]:
    """Yield the overlap of a column and a box along two axes, in voxels of either."""
    for first, side, a, b in zip(start, sides, low[1:], high[1:], strict=True):
        begin, end = max(first, a), min(first + side, b)
        yield slice(begin - first, end - first), slice(begin - a, end - a)
