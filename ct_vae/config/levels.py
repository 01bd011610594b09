"""Numbers that follow from the levels of a network, wherever those are named."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def factors_of(
    steps: Sequence[Sequence[int]], spatial_dims: int, patch: Sequence[int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Voxels of the image per voxel of each level, along each axis.

    Args:
        steps: Stride per axis between each level and the next.
        spatial_dims: Number of axes.
        patch: Voxels of the image per voxel of the first level, along each axis; 1 by default.
    """
    first = (1,) * spatial_dims if patch is None else tuple(patch)
    return tuple(accumulate(steps, _multiplied, initial=first))


def per_level(blocks: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """One number for each level, from one for all or one for each."""
    return (blocks,) * levels if isinstance(blocks, int) else tuple(blocks)


def _multiplied(factor: tuple[int, ...], step: Sequence[int]) -> tuple[int, ...]:
    return tuple(f * s for f, s in zip(factor, step, strict=True))
