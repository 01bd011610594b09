"""Layout of the files of cached volumes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ct_vae.grid import Triple

# Increased if the bytes of an entry with the same key change.
CACHE_FORMAT = 2
# Sides of a brick in voxels.
BRICK = 64

_HEADER = struct.Struct("<8sII4Q16x")
_MAGIC = b"ctbricks"
_ALIGNMENT = 4096
_VOXEL_BYTES = 2


@dataclass(frozen=True)
class Column:
    """Bricks at one place of the second and third axis; they follow each other in the file.

    Attributes:
        low: First voxel along the second and third axis.
        sides: Number of voxels along these axes, at most 64.
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

    The header is followed by one bit per voxel that tells the body from air, plane by plane, and
    then by columns of 64 x 64 voxels along the first axis, each in C order. A box of
    64^3 voxels meets at most 2 x 2 columns, that is 8 bricks. Its planes follow each other in a
    column, so that it takes at most four reads of 512 KiB. Columns at the end of an axis are
    smaller. Columns begin at multiples of 4096 bytes; nothing else is padded.

    Attributes:
        shape: Number of voxels along each axis.
    """

    shape: Triple

    @property
    def header(self) -> bytes:
        """First bytes of the file."""
        return _HEADER.pack(_MAGIC, CACHE_FORMAT, BRICK, *self.shape, self.file_bytes)

    @property
    def counts(self) -> tuple[int, int]:
        """Number of columns along the second and third axis."""
        return -(-self.shape[1] // BRICK), -(-self.shape[2] // BRICK)

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
        places = (range(a // BRICK, -(-b // BRICK)) for a, b in zip(low[1:], high[1:], strict=True))
        for y, z in product(*places):
            yield self._column(y, z)

    def _column(self, y: int, z: int) -> Column:
        low = BRICK * y, BRICK * z
        sides = min(BRICK, self.shape[1] - low[0]), min(BRICK, self.shape[2] - low[1])
        _, across = self.counts
        rest = self.shape[2] - BRICK * (across - 1)
        before = y * ((across - 1) * self._bytes(BRICK, BRICK) + self._bytes(BRICK, rest))
        start = _aligned(self.mask_span(self.shape[0])[0])
        return Column(low, sides, start + before + z * self._bytes(sides[0], BRICK))

    def _bytes(self, y: int, z: int) -> int:
        """Return the bytes from a column with these sides to the next one."""
        return _aligned(self.shape[0] * y * z * _VOXEL_BYTES)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
