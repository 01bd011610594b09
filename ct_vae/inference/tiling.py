"""Tiling of volumes: exact slabs, the whole volume, or blended tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch

from ct_vae.errors import ConfigError
from ct_vae.latent import TilingRecord
from ct_vae.progress import report_fraction

Triple = tuple[int, int, int]
Method = Literal["exact", "blend", "whole"]
Operator = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Tiling:
    """Requested tiling of volumes.

    Attributes:
        method: ``exact`` (the default) streams slabs with the result of the whole volume, ``whole``
            runs on the whole volume, ``blend`` blends overlapping tiles.
        tile: Side of a tile in voxels, rounded up to a multiple of the factor; defaults to 96.
        overlap: Fraction of a tile that overlaps with the next one; defaults to 0.25.
        max_memory_gb: Memory limit in GiB of the process on a CPU, and of the device otherwise;
            ``None`` (the default) allows a fraction of the free memory.

    Raises:
        ConfigError: If a value is out of range.
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
        """Compute tiles for a padded volume.

        Args:
            sides: Shape of the volume, multiples of ``factor``.
            factor: Voxels per latent voxel along each axis.
            bytes_per_voxel: Memory per voxel of a tile.
            budget: Available memory in bytes.

        Raises:
            ConfigError: If not even one tile fits into memory.
        """
        tile = _triple(min(_up(self.tile, f), n) for n, f in zip(sides, factor, strict=True))
        overlap = _triple(
            min(_up(self.overlap * t, f), t - f) for t, f in zip(tile, factor, strict=True)
        )
        needed = bytes_per_voxel * _count(tile)
        if needed > budget:
            raise ConfigError(
                f"a tile of {tile} voxels needs about {needed / 2**30:.2g} GiB, more than the "
                f"{max(0, budget) / 2**30:.2g} GiB that are available",
                "choose a smaller --tile or a larger --max-memory-gb",
            )
        return TilingRecord(method="blend", tile=tile, overlap=overlap)


def run_tiled(
    operator: Operator, volume: torch.Tensor, tiling: TilingRecord, shrink: Sequence[int]
) -> torch.Tensor:
    """Apply a network to a volume ``(1, C, *spatial)``, tile by tile if planned.

    Args:
        operator: Function from a volume or tile to its result, of proportional size.
        volume: Input; the operator moves each tile to the device.
        tiling: Planned tiles in voxels.
        shrink: Voxels per element of ``volume`` along each axis: 1 for images, the factor for
            latents. Tiles and their starts are multiples of the factor, so that windows align with
            latent voxels.
    """
    if tiling.tile is None or tiling.overlap is None:
        return operator(volume)
    # Importing MONAI takes seconds, and most volumes are streamed.
    from monai.inferers import SlidingWindowInferer

    roi = [t // f for t, f in zip(tiling.tile, shrink, strict=True)]
    shared = [v // f for v, f in zip(tiling.overlap, shrink, strict=True)]
    # MONAI truncates roi * (1 - overlap) to integers; half a voxel avoids rounding errors.
    share = [max(0.0, s - 0.5) / r for s, r in zip(shared, roi, strict=True)]
    inferer = SlidingWindowInferer(roi, sw_batch_size=1, overlap=share, mode="gaussian")
    total = tile_count(volume.shape[2:], roi, share)
    done = 0

    def counted(tile: torch.Tensor) -> torch.Tensor:
        nonlocal done
        result = operator(tile)
        done += 1
        report_fraction(done / total)
        return result

    return cast(torch.Tensor, inferer(volume, counted))


def tile_count(sides: Sequence[int], roi: Sequence[int], overlap: Sequence[float]) -> int:
    """Return the number of tiles that MONAI's sliding window divides a volume into.

    Args:
        sides: Size of the volume.
        roi: Size of a tile.
        overlap: Fraction of a tile that it shares with the next one, for each axis.
    """
    count = 1
    for side, size, share in zip(sides, roi, overlap, strict=True):
        step = size if size >= side else max(1, int(size * (1 - share)))
        count *= 1 + max(0, -(-(side - size) // step))
    return count


def _up(value: float, step: int) -> int:
    return -int(-value // step) * step


def _count(sides: Sequence[int]) -> int:
    return int(torch.Size(sides).numel())


def _triple(values: Iterable[int]) -> Triple:
    x, y, z = values
    return x, y, z
