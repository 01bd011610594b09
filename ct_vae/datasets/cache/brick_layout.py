"""Layout of the files of cached volumes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ct_vae.grid import Triple

# Increased if the bytes of an entry with the same key change.
CACHE_FORMAT = 2
# Sides of a column along the second and third axis. Larger ones need fewer reads, and smaller ones
# fewer bytes: a patch of 64^3 takes up to 3 x 2 reads of 1.5 MiB in total, for its own 0.5 MiB.
COLUMN = (32, 64)

_HEADER = struct.Struct("<8sIII4Q12x")
_MAGIC = b"ctbricks"
_ALIGNMENT = 4096
_VOXEL_BYTES = 2


@dataclass(frozen=True)
class Column:
    """Part of a volume along the whole first axis; its planes follow each other in the file.

    Attributes:
        low: First voxel along the second and third axis.
        sides: Number of voxels along these axes.
        offset: Position of the first byte in the file.
    """

    low: tuple[int, int]
    sides: tuple[int, int]
    offset: int

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the offset and the number of bytes of the planes ``first <= x < last``."""
        plane = self.sides[0] * self.sides[1] * _VOXEL_BYTES
        return self.offset + first * plane, (last - first) * plane


@dataclass(frozen=True)
class BrickLayout:
    """Positions of the voxels of a volume in a file of int16 bricks.

    The header is followed by one bit per voxel, set in the body and clear in air, plane by plane,
    and then by columns of 32 x 64 voxels along the first axis, each in C order. A column is a stack
    of bricks that follow each other, so that any part of it along the first axis is one read. A box
    of 64^3 voxels meets at most six columns, with 256 KiB in each of them. Columns at the end of an
    axis are smaller. Columns begin at multiples of 4096 bytes; nothing else is padded.

    Attributes:
        shape: Number of voxels along each axis.
    """

    shape: Triple

    @property
    def header(self) -> bytes:
        """First bytes of the file."""
        return _HEADER.pack(_MAGIC, CACHE_FORMAT, *COLUMN, *self.shape, self.file_bytes)

    @property
    def counts(self) -> tuple[int, int]:
        """Number of columns along the second and third axis."""
        return -(-self.shape[1] // COLUMN[0]), -(-self.shape[2] // COLUMN[1])

    @property
    def file_bytes(self) -> int:
        """Size of the file in bytes."""
        y, z = self.counts
        return sum(self._column(y - 1, z - 1).span(0, self.shape[0]))

    def mask_span(self, plane: int) -> tuple[int, int]:
        """Return the offset and the number of bytes of the body mask of a plane."""
        count = -(-self.shape[1] * self.shape[2] // 8)
        return _HEADER.size + plane * count, count

    def columns(self) -> Iterator[Column]:
        """Yield all columns in the order of the file."""
        return self.meeting((0, 0, 0), self.shape)

    def meeting(self, low: Triple, high: Triple) -> Iterator[Column]:
        """Yield the columns that hold voxels of the box ``low <= i < high``."""
        boxes = zip(low[1:], high[1:], COLUMN, strict=True)
        for y, z in product(*(range(a // side, -(-b // side)) for a, b, side in boxes)):
            yield self._column(y, z)

    def _column(self, y: int, z: int) -> Column:
        low = COLUMN[0] * y, COLUMN[1] * z
        sides = min(COLUMN[0], self.shape[1] - low[0]), min(COLUMN[1], self.shape[2] - low[1])
        whole = self.counts[1] - 1
        rest = self.shape[2] - COLUMN[1] * whole
        row = whole * self._bytes(*COLUMN) + self._bytes(COLUMN[0], rest)
        start = _aligned(self.mask_span(self.shape[0])[0])
        return Column(low, sides, start + y * row + z * self._bytes(sides[0], COLUMN[1]))

    def _bytes(self, y: int, z: int) -> int:
        """Return the bytes from a column with these sides to the next one."""
        return _aligned(self.shape[0] * y * z * _VOXEL_BYTES)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
