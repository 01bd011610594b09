"""How a volume is cut for the network: in exact slabs, whole, or in tiles that are blended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from monai.inferers import SlidingWindowInferer

from ct_vae.errors import ConfigError
from ct_vae.latent import TilingRecord

Triple = tuple[int, int, int]
Method = Literal["exact", "blend", "whole"]
Operator = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Tiling:
    """Wishes for the way of a volume through the network.

    Attributes:
        method: ``exact`` streams slabs with the result of the whole, ``whole`` takes all at once,
            ``blend`` takes tiles whose overlaps are blended.
        tile: Side of a tile in voxels; it is rounded up to a multiple of the factor.
        overlap: Share of a tile that it has in common with the next one.
        max_memory_gb: Bound for the process on a CPU and for the device elsewhere; ``None`` means
            a share of what is free.
    """

    method: Method = "exact"
    tile: int = 96
    overlap: float = 0.25
    max_memory_gb: float | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ConfigError(f"tiling is {', '.join(get_args(Method))}, got {self.method!r}")
        if self.tile < 1 or not 0 <= self.overlap < 1:
            raise ConfigError(
                f"tile {self.tile} must be positive and overlap {self.overlap} in [0, 1)"
            )

    def tiles(
        self, sides: Sequence[int], factor: Sequence[int], bytes_per_voxel: float, budget: int
    ) -> TilingRecord:
        """Place tiles in a padded volume with ``sides``, multiples of ``factor``.

        Raises:
            ConfigError: If not even one tile fits the budget.
        """
        tile = _triple(min(_up(self.tile, f), n) for n, f in zip(sides, factor, strict=True))
        overlap = _triple(
            min(_up(self.overlap * t, f), t - f) for t, f in zip(tile, factor, strict=True)
        )
        needed = bytes_per_voxel * _count(tile)
        if needed > budget:
            raise ConfigError(
                f"a tile of {tile} voxels needs about {needed / 2**30:.2g} GiB, more than the "
                f"{max(0, budget) / 2**30:.2g} GiB that are left",
                "choose a smaller --tile or a larger --max-memory-gb",
            )
        return TilingRecord(method="blend", tile=tile, overlap=overlap)


def run_tiled(
    operator: Operator, volume: torch.Tensor, tiling: TilingRecord, shrink: Sequence[int]
) -> torch.Tensor:
    """Apply a network to ``(1, C, *spatial)``.

    Args:
        operator: From a volume or tile to its result, of proportional size.
        volume: Input; it stays where it is, the operator moves each tile.
        tiling: As planned in voxels.
        shrink: Voxels per step of ``volume``'s axes: 1 for images, the factor for latents. Tiles
            and their starts are multiples of the factor, so that windows meet latent voxels.
    """
    if tiling.tile is None or tiling.overlap is None:
        return operator(volume)
    roi = [t // f for t, f in zip(tiling.tile, shrink, strict=True)]
    shared = [v // f for v, f in zip(tiling.overlap, shrink, strict=True)]
    # MONAI truncates roi * (1 - overlap) to whole voxels; half a voxel keeps it off the edge.
    share = [max(0.0, s - 0.5) / r for s, r in zip(shared, roi, strict=True)]
    inferer = SlidingWindowInferer(roi, sw_batch_size=1, overlap=share, mode="gaussian")
    return cast(torch.Tensor, inferer(volume, operator))


def _up(value: float, step: int) -> int:
    return -int(-value // step) * step


def _count(sides: Sequence[int]) -> int:
    return int(torch.Size(sides).numel())


def _triple(values: Iterable[int]) -> Triple:
    x, y, z = values
    return x, y, z
