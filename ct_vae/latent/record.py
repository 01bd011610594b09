"""Record of a latent: its origin, and what is needed to decode it to the source's geometry."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from ct_vae.grid import MAX_VOXELS, Grid
from ct_vae.latent.record_part import RecordPart, Sha256, Sides
from ct_vae.latent.stored_values import LatentStatistics, QuantizationRecord, StepResponse

RECORD_FORMAT: Literal["ct_vae.latent"] = "ct_vae.latent"
RECORD_VERSION: Literal[2] = 2
# First bytes of coded latents.
CODED_MAGIC = b"\x93CTLATZ"

Layout = Literal["plain", "vector", "maisi"]
Row = tuple[float, float, float, float]
AffineRows = tuple[Row, Row, Row, Row]


class GridRecord(RecordPart):
    """Shape and affine (RAS+, mm) of a grid, as JSON."""

    shape: Sides
    affine: AffineRows

    @model_validator(mode="after")
    def _check(self) -> GridRecord:
        if min(self.shape) < 1 or math.prod(self.shape) > MAX_VOXELS:
            raise ValueError(f"shape {self.shape} is not that of a volume")
        return self

    @classmethod
    def of(cls, grid: Grid) -> GridRecord:
        """Describe a grid; JSON preserves every float64 exactly."""
        a, b, c, d = ((r[0], r[1], r[2], r[3]) for r in grid.affine.tolist())
        return cls(shape=grid.shape, affine=(a, b, c, d))

    def grid(self) -> Grid:
        """Return the grid."""
        return Grid(self.shape, np.array(self.affine))


class ModelRecord(RecordPart):
    """Model that made the latent.

    Attributes:
        name: Name of the model.
        sha256: Digest of the weights file.
        latent_type: Kind of latent.
        encoder_sha256: Digest of the weights that determine the latent. A model whose decoder was
            trained further with the same encoder can decode the latent as well.
    """

    name: str
    sha256: Sha256
    latent_type: Literal["kl", "vq", "magvit"]
    encoder_sha256: Sha256 | None = None

    def encodes_as(self, other: ModelRecord) -> bool:
        """Return true if both models give the same latent for an image."""
        encoder = self.encoder_sha256
        return self.sha256 == other.sha256 or (
            encoder is not None and encoder == other.encoder_sha256
        )


class SourceRecord(RecordPart):
    """Source volume as read, before any preprocessing.

    ``sha256`` covers voxels and affine, so equal volumes are recognized in any file format.
    """

    sha256: Sha256
    grid: GridRecord
    dtype: str
    format: str


class PreprocessRecord(RecordPart):
    """Preprocessing of the source, in the order in which it was applied.

    ``oriented`` is the grid after reorientation to ``axcodes`` and, if ``resampled``, after
    resampling; padding follows. Fractions refer to its voxels.
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


class TilingRecord(RecordPart):
    """Tiling of the volume during encoding."""

    method: Literal["exact", "blend", "whole"]
    tile: Sides | None = None
    overlap: Sides | None = Field(default=None, description="voxels shared by neighboring tiles")
    slab: int | None = Field(
        default=None, description="fewest slices that a layer computed in one go"
    )
    spools: tuple[Literal["device", "host", "disk"], ...] | None = Field(
        default=None, description="where feature maps waited to be read again"
    )
    estimate_mb: float | None = Field(default=None, description="memory that was planned for")


class RunRecord(RecordPart):
    """Software, device and cost of the computation; nothing here affects the latent's meaning.

    ``source_files`` is a digest of the sizes and times of the source files and of the options with
    which they were read. It identifies an unchanged source without reading it.
    """

    versions: dict[str, str]
    device: str
    seconds: float
    peak_memory_mb: float
    source_files: Sha256 | None = None


class LatentRecord(RecordPart):
    """Record of a latent, stored next to the latent file.

    ``scaling_factor`` is that of the model; the stored values are unscaled. ``file_sha256`` is the
    digest of the NIfTI file and is absent from the copy in that file's own header. ``layout`` is
    the order of the values in that file.
    """

    format: Literal["ct_vae.latent"] = RECORD_FORMAT
    format_version: Literal[1, 2] = RECORD_VERSION
    model: ModelRecord
    source: SourceRecord
    preprocess: PreprocessRecord
    factor: Sides
    kind: Literal["mean", "sample", "codes"]
    seed: int | None = None
    spatial_dims: Literal[2, 3] = 3
    image_channels: Annotated[
        int, Field(ge=1, description="times the gray value was given; outputs are averaged")
    ] = 1
    tiling: TilingRecord
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    scaling_factor: float
    statistics: LatentStatistics | None
    posterior: Annotated[
        bool, Field(description="the standard deviations of the posterior follow the means")
    ] = False
    step_response: StepResponse | None = None
    layout: Layout = "plain"
    quantisation: QuantizationRecord | None = None
    run: RunRecord | None = None
    file_sha256: Sha256 | None = None
    warnings: tuple[str, ...] = ()

    def padded_grid(self) -> Grid:
        """Return the grid of the model's input: oriented, resampled and padded."""
        steps = self.preprocess
        return steps.oriented.grid().pad(steps.pad_low, steps.pad_high)

    def latent_grid(self) -> Grid:
        """Return the grid of the latent: block centers on the nearest orthonormal axes."""
        return self.padded_grid().coarsen(self.factor).orthonormal()
