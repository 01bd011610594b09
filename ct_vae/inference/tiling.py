"""Tiling of volumes: exact slabs, the whole volume, or blended tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

from ct_vae.errors import ConfigError
from ct_vae.inference.blending import Blending
from ct_vae.inference.device import HOST
from ct_vae.inference.volume_adapter import SLICES_AT_ONCE, Triple, VolumeAdapter
from ct_vae.latent import TilingRecord

Method = Literal["exact", "blend", "whole"]
# Memory that a batch of tiles may take. Small tiles leave a GPU idle one at a time; on a CPU, more
# of them only exceed its cache.
_BATCH_BYTES = {"cpu": 0, "cuda": 4 * 2**30}
# Float32 maps of the widest full-resolution level that are in memory at the peak: 2.6 to 6.0 were
# measured on a CPU, over widths of 16 to 128 and both halves; one more for safety.
_LIVE_MAPS = 7
# Maps of the result of a row of tiles: sums, weights, their quotient, and slices that move.
_ROW_MAPS = 4


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
        batch: Tiles that are computed at once; ``None`` (the default) takes one on a CPU, and as
            many as are useful and fit into memory on a GPU.

    Raises:
        ConfigError: If a value is out of range.
    """

    method: Method = "exact"
    tile: int = 96
    overlap: float = 0.25
    max_memory_gb: float | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ConfigError(f"tiling is {', '.join(get_args(Method))}, got {self.method!r}")
        if self.tile < 1 or not 0 <= self.overlap < 1:
            raise ConfigError(
                f"tile {self.tile} must be positive and overlap {self.overlap} in [0, 1)"
            )
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch {self.batch} of tiles must be positive")

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
        needed = bytes_per_voxel * prod(tile) * (self.batch or 1)
        if needed > budget:
            tiles = "a tile" if self.batch in (None, 1) else f"a batch of {self.batch} tiles"
            raise ConfigError(
                f"{tiles} of {tile} voxels needs about {needed / 2**30:.2g} GiB, more than the "
                f"{max(0, budget) / 2**30:.2g} GiB that are available",
                "choose a smaller --tile or a larger --max-memory-gb",
            )
        return TilingRecord(method="blend", tile=tile, overlap=overlap)

    def batch_of(self, tile: Sequence[int], bytes_per_voxel: float, budget: int, kind: str) -> int:
        """Return how many tiles are computed at once.

        Args:
            tile: Sides of a tile in voxels.
            bytes_per_voxel: Memory per voxel of a tile.
            budget: Available memory in bytes.
            kind: Type of the device, such as ``cuda``.
        """
        if self.batch is not None:
            return self.batch
        room = min(budget, _BATCH_BYTES.get(kind, 0))
        return max(1, int(room // (bytes_per_voxel * prod(tile))))


def plan_tiles(
    network: VolumeAdapter, encodes: bool, tiling: Tiling, sides: Triple, budget: int
) -> tuple[TilingRecord, Blending]:
    """Choose tiles, how many are computed at once, and where they are added.

    Args:
        network: Network to run.
        encodes: True for the encoder, false for the decoder.
        tiling: Requested tiling.
        sides: Shape of the padded volume.
        budget: Available memory of the device in bytes.

    Raises:
        ConfigError: If one tile, or the requested batch of tiles, does not fit into memory.
    """
    device, factor, per_voxel = network.device, network.factor, _bytes_per_voxel(network)
    record = tiling.tiles(sides, factor, per_voxel, budget)
    assert record.tile is not None
    assert record.overlap is not None
    # A 2-D model computes the slices of one tile at a time.
    batch = tiling.batch_of(record.tile, per_voxel, budget, device.type) if network.streams else 1
    left = budget - per_voxel * prod(record.tile) * batch
    row = _row_bytes(network, encodes, (record.tile[0], *sides[1:]))
    shrink = (1, 1, 1) if encodes else factor
    x, y, z = (t // f for t, f in zip(record.tile, shrink, strict=True))
    a, b, c = (v // f for v, f in zip(record.overlap, shrink, strict=True))
    stitching = device if row <= left else HOST
    return record, Blending((x, y, z), (a, b, c), batch, device, stitching)


def check_whole(network: VolumeAdapter, sides: Triple, budget: int) -> None:
    """Check the memory that a network needs for a whole volume against an explicit limit.

    Raises:
        ConfigError: If the limit is exceeded.
    """
    x, y, z = sides
    at_once = z if network.streams else min(z, SLICES_AT_ONCE)
    needed = _bytes_per_voxel(network) * x * y * at_once
    if needed > budget:
        what = "the whole volume" if network.streams else f"{at_once} slices"
        raise ConfigError(
            f"{what} at once needs about {needed / 2**30:.2g} GiB, more than the "
            f"{max(0, budget) / 2**30:.2g} GiB that are available",
            "raise --max-memory-gb" + (", or use --tiling exact" if network.streams else ""),
        )


def _bytes_per_voxel(network: VolumeAdapter) -> float:
    return 4.0 * _LIVE_MAPS * network.model.full_resolution_width


def _row_bytes(network: VolumeAdapter, encodes: bool, sides: Triple) -> float:
    """Return the memory of the input and the sums of a row of tiles with these sides in voxels."""
    latent_maps = 2 * network.model.latent_channels / prod(network.factor)
    given, made = (1.0, latent_maps) if encodes else (latent_maps, 1.0)
    return 4.0 * prod(sides) * (given + _ROW_MAPS * made)


def _up(value: float, step: int) -> int:
    return -int(-value // step) * step


def _triple(values: Iterable[int]) -> Triple:
    x, y, z = values
    return x, y, z
