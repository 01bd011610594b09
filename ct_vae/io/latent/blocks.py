"""Blocks of arrays, so that computations in float64 need little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

_BLOCK_VALUES = 1 << 16


def blocks(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Divide arrays of one shape into blocks of at most 65,536 values.

    Yields:
        Views of the same part of each array.
    """
    first = arrays[0]
    if first.size <= _BLOCK_VALUES:
        yield arrays
        return
    rows = _BLOCK_VALUES // first[0].size
    if not rows:
        for parts in zip(*arrays, strict=True):
            yield from blocks(*parts)
        return
    for start in range(0, len(first), rows):
        yield tuple(array[start : start + rows] for array in arrays)
