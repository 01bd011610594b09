"""Random latents, which show what a decoder makes of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ct_vae.config.model_folder import LatentConfig
from ct_vae.errors import ConfigError
from ct_vae.grid import MAX_VOXELS, Grid
from ct_vae.inference.codec import Codec
from ct_vae.inference.device import memory_errors
from ct_vae.latent import (
    GridRecord,
    Latent,
    LatentRecord,
    PreprocessRecord,
    SourceRecord,
    TilingRecord,
)
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder

# Random latents have no source volume.
_NO_DIGEST = "0" * 64
# NIfTI stores sizes in 16 bits.
_LONGEST_SIDE = 2**15 - 1
_DIRECTIONS = {
    "R": (1.0, 0.0, 0.0),
    "L": (-1.0, 0.0, 0.0),
    "A": (0.0, 1.0, 0.0),
    "P": (0.0, -1.0, 0.0),
    "S": (0.0, 0.0, 1.0),
    "I": (0.0, 0.0, -1.0),
}


class RandomLatents:
    """Random latents of one model.

    A continuous latent is Gaussian noise with the measured mean and standard deviation of each
    channel. In a latent of codes, all codes are equally likely. Unlike in latents of CT,
    neighboring voxels are independent.

    Args:
        codec: Codec of the model.
        statistics: Measured statistics of its latents.

    Raises:
        ConfigError: If the latent is continuous and its statistics have not been measured.
    """

    def __init__(self, codec: Codec, statistics: LatentConfig) -> None:
        self._codec = codec
        self._model = codec.network.model
        self._mean, self._std = statistics.mean, statistics.std
        channels = self._model.latent_channels
        measured = len(self._mean or ()) == len(self._std or ()) == channels
        if not isinstance(self._model, QuantizedAutoencoder) and not measured:
            raise ConfigError(
                f"the model {codec.identity.name!r} has no measured mean and standard deviation "
                f"of its {channels} latent channels, which are needed to scale the noise",
                "use a model saved by 'ct-vae train', or --count 0",
            )

    def check(self, size: Sequence[int], spacing_mm: Sequence[float]) -> tuple[int, int, int]:
        """Check a volume size and round it up to multiples of the factor.

        Raises:
            ConfigError: If size or spacing are not positive, or if the volume is too large.
        """
        if not all(math.isfinite(step) and step > 0 for step in spacing_mm):
            raise ConfigError(f"a spacing of {tuple(spacing_mm)} mm is not positive")
        if min(size) < 1:
            raise ConfigError(f"sides {tuple(size)} of a volume are not positive")
        x, y, z = (-(-n // f) * f for n, f in zip(size, self._codec.network.factor, strict=True))
        if max(x, y, z) > _LONGEST_SIDE or x * y * z > MAX_VOXELS:
            raise ConfigError(
                f"a volume of {x} x {y} x {z} voxels is too large",
                f"sides go up to {_LONGEST_SIDE}, voxels up to {MAX_VOXELS}",
            )
        return x, y, z

    @memory_errors()
    def draw(
        self,
        size: Sequence[int],
        spacing_mm: tuple[float, float, float],
        seed: int,
        index: int,
    ) -> Latent:
        """Draw a random latent.

        Args:
            size: Size in voxels of the volume to decode to, rounded up to multiples of the factor.
            spacing_mm: Spacing of that volume in mm; both in the order of the preprocessing's
                ``axcodes``.
            seed: Seed shared by all latents.
            index: Index of the latent, which depends only on ``seed`` and ``index``.

        Raises:
            ConfigError: If size or spacing are not positive, or if the volume is too large.
            InputError: If the latent does not fit into memory.
        """
        sides = self.check(size, spacing_mm)
        record = self._record(_centered(sides, spacing_mm, self._axcodes), seed)
        grid = record.latent_grid()
        values = self._values(grid.shape, np.random.default_rng([seed, index]))
        return Latent(values, grid, record)

    @property
    def _axcodes(self) -> str:
        return self._codec.preprocessor.axcodes

    def _values(
        self, sides: tuple[int, int, int], generator: np.random.Generator
    ) -> NDArray[np.float32] | NDArray[np.int32]:
        if isinstance(self._model, QuantizedAutoencoder):
            return generator.integers(self._model.codebook_size, size=sides, dtype=np.int32)
        noise = generator.standard_normal((self._model.latent_channels, *sides), dtype=np.float32)
        mean, std = (
            np.array(v, dtype=np.float32).reshape(-1, 1, 1, 1) for v in (self._mean, self._std)
        )
        scaled: NDArray[np.float32] = noise * std + mean
        return scaled

    def _record(self, grid: Grid, seed: int) -> LatentRecord:
        """Create the record that `Codec.decode` needs; no volume was encoded."""
        where, scale = GridRecord.of(grid), self._codec.preprocessor.scale
        codes = isinstance(self._model, QuantizedAutoencoder)
        return LatentRecord(
            model=self._codec.identity,
            source=SourceRecord(sha256=_NO_DIGEST, grid=where, dtype="float32", format="random"),
            preprocess=PreprocessRecord(
                axcodes=self._axcodes,
                resampled=False,
                oriented=where,
                window_hu=scale.window_hu,
                model_range=scale.model_range,
                clipped_below=0.0,
                clipped_above=0.0,
                outside_fov=0.0,
                pad_low=(0, 0, 0),
                pad_high=(0, 0, 0),
            ),
            factor=self._codec.network.factor,
            kind="codes" if codes else "sample",
            seed=None if codes else seed,
            spatial_dims=2 if self._model.spatial_dims == 2 else 3,
            image_channels=self._model.in_channels,
            tiling=TilingRecord(method="whole"),
            scaling_factor=self._model.scaling_factor,
            statistics=None,
        )


def _centered(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], axcodes: str
) -> Grid:
    """Create a grid along ``axcodes`` whose center is the origin."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([_DIRECTIONS[code] for code in axcodes]).T * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)
