"""A latent volume, its place in space, and the record that leads back to the source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ct_vae.errors import InputError
from ct_vae.grid import Grid

RECORD_FORMAT: Literal["ct_vae.latent"] = "ct_vae.latent"
RECORD_VERSION: Literal[1] = 1

MAX_VOXELS = 2**31
Layout = Literal["plain", "vector", "maisi"]
Sides = tuple[int, int, int]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Row = tuple[float, float, float, float]
AffineRows = tuple[Row, Row, Row, Row]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class GridRecord(_Part):
    """Shape and affine (RAS+, mm) of a grid, as JSON."""

    shape: Sides
    affine: AffineRows

    @model_validator(mode="after")
    def _check(self) -> GridRecord:
        if min(self.shape) < 1 or math.prod(self.shape) > MAX_VOXELS:
            raise ValueError(f"sides {self.shape} are not those of a volume")
        return self

    @classmethod
    def of(cls, grid: Grid) -> GridRecord:
        """Describe a grid; every float64 survives the way through JSON."""
        a, b, c, d = ((r[0], r[1], r[2], r[3]) for r in grid.affine.tolist())
        return cls(shape=grid.shape, affine=(a, b, c, d))

    def grid(self) -> Grid:
        """The grid described."""
        return Grid(self.shape, np.array(self.affine))


class ModelRecord(_Part):
    """The model that made the latent.

    ``sha256`` is that of its weights file, ``encoder_sha256`` that of the weights that decide about
    a latent. A decoder that was trained further on the same encoder reads the latent as well.
    """

    name: str
    sha256: Sha256
    latent_type: Literal["kl", "vq", "magvit"]
    encoder_sha256: Sha256 | None = None

    def encodes_as(self, other: ModelRecord) -> bool:
        """Whether both models give the same latent of an image."""
        encoder = self.encoder_sha256
        return self.sha256 == other.sha256 or (
            encoder is not None and encoder == other.encoder_sha256
        )


class SourceRecord(_Part):
    """The source volume as it was read, before any preprocessing.

    ``sha256`` covers voxels and affine, so that equal volumes are recognised in any file.
    """

    sha256: Sha256
    grid: GridRecord
    dtype: str
    format: str


class PreprocessRecord(_Part):
    """How the source became model input: what was done, in this order.

    ``oriented`` is the grid after reorientation to ``axcodes`` and, when ``resampled``, after
    resampling; padding follows. Fractions are of its voxels.
    """

    axcodes: str = Field(pattern="^[RLAPSI]{3}$")
    resampled: bool
    oriented: GridRecord
    window_hu: tuple[float, float]
    model_range: tuple[float, float]
    clipped_below: float = Field(ge=0, le=1)
    clipped_above: float = Field(ge=0, le=1)
    outside_fov: float = Field(ge=0, le=1)
    pad_low: Annotated[Sides, Field(description="voxels added before each axis")]
    pad_high: Annotated[
        Sides, Field(description="voxels added after each axis, copies of the last")
    ]

    @model_validator(mode="after")
    def _check(self) -> PreprocessRecord:
        if min(self.pad_low + self.pad_high) < 0:
            raise ValueError("padding must not be negative")
        if (
            not self.window_hu[0] < self.window_hu[1]
            or not self.model_range[0] < self.model_range[1]
        ):
            raise ValueError("window_hu and model_range run from low to high")
        return self


class TilingRecord(_Part):
    """How the volume went through the network."""

    method: Literal["exact", "blend", "whole"]
    tile: Sides | None = None
    overlap: Sides | None = Field(default=None, description="voxels shared by neighbouring tiles")
    slab: int | None = Field(
        default=None, description="fewest slices that a layer computed in one go"
    )
    spools: tuple[Literal["device", "host", "disk"], ...] | None = Field(
        default=None, description="where feature maps waited to be read again"
    )
    estimate_mb: float | None = Field(default=None, description="memory that was planned for")


class LatentStatistics(_Part):
    """Mean and standard deviation per channel, unscaled."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class QuantisationRecord(_Part):
    """How the values were stored, and how far the stored ones are from the computed ones."""

    dtype: Literal["int16", "float32", "uint16", "int32"]
    slope: float = 1.0
    inter: float = 0.0
    max_abs_error: float = 0.0
    rmse: float = 0.0


class RunRecord(_Part):
    """When and with what the latent was computed; nothing here changes its meaning.

    ``source_files`` is a digest of sizes and times of the files that the source was read from and
    of how it was read, by which an untouched source is known again without being read.
    """

    versions: dict[str, str]
    device: str
    seconds: float
    peak_memory_mb: float
    source_files: Sha256 | None = None


class LatentRecord(_Part):
    """The master record beside a latent file.

    ``scaling_factor`` is the model's; the values on disk are not scaled by it. ``file_sha256`` is
    that of the NIfTI file, absent in the copy inside that file's own header. ``layout`` tells how
    the values lie in that file.
    """

    format: Literal["ct_vae.latent"] = RECORD_FORMAT
    format_version: Literal[1] = RECORD_VERSION
    model: ModelRecord
    source: SourceRecord
    preprocess: PreprocessRecord
    factor: Sides
    kind: Literal["mean", "sample", "codes"]
    seed: int | None = None
    spatial_dims: Literal[2, 3] = 3
    image_channels: Annotated[
        int, Field(ge=1, description="times the grey value was given; outputs are averaged")
    ] = 1
    tiling: TilingRecord
    scaling_factor: float
    statistics: LatentStatistics | None
    layout: Layout = "plain"
    quantisation: QuantisationRecord | None = None
    run: RunRecord | None = None
    file_sha256: Sha256 | None = None
    warnings: tuple[str, ...] = ()

    def padded_grid(self) -> Grid:
        """The grid of the model's input: oriented, resampled, padded."""
        steps = self.preprocess
        return steps.oriented.grid().pad(steps.pad_low, steps.pad_high)

    def latent_grid(self) -> Grid:
        """The grid of the latent: block centres, on the nearest orthonormal axes."""
        return self.padded_grid().coarsen(self.factor).orthonormal()


@dataclass(frozen=True, eq=False)
class Latent:
    """A latent volume.

    Attributes:
        array: ``(C, X, Y, Z)`` float32 posterior means (or a sample), unscaled; ``(X, Y, Z)``
            integers for codes.
        grid: Where the latent voxels lie: each at the centre of its block of CT voxels.
        record: Where it came from and how to go back.

    Raises:
        InputError: If array, grid and record do not belong together.
    """

    array: NDArray[np.float32] | NDArray[np.integer]
    grid: Grid
    record: LatentRecord

    def __post_init__(self) -> None:
        codes = self.record.kind == "codes"
        if self.array.ndim != (3 if codes else 4) or self.array.shape[-3:] != self.grid.shape:
            raise InputError(
                f"a latent of kind {self.record.kind} with shape {self.array.shape} does not fit "
                f"a grid of {self.grid.shape}"
            )
        if codes != np.issubdtype(self.array.dtype, np.integer):
            raise InputError(f"{self.record.kind} latents cannot be {self.array.dtype}")
        expected = self.record.latent_grid()
        # float32 headers keep about seven digits of a position.
        if expected.shape != self.grid.shape or expected.distance_mm(self.grid) > 1e-2:
            raise InputError(
                f"the latent's grid {self.grid.shape} does not follow from its record, which "
                f"gives {expected.shape} and is {expected.distance_mm(self.grid):.3g} mm away",
                "the files do not belong together; encode the source again",
            )
