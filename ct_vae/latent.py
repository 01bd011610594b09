"""Latent volume with its grid and the record needed to decode it to the source's geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ct_vae.errors import InputError
from ct_vae.grid import MAX_VOXELS, Grid

RECORD_FORMAT: Literal["ct_vae.latent"] = "ct_vae.latent"
RECORD_VERSION: Literal[2] = 2
# First bytes of coded latents.
CODED_MAGIC = b"\x93CTLATZ"

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


class ModelRecord(_Part):
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


class SourceRecord(_Part):
    """Source volume as read, before any preprocessing.

    ``sha256`` covers voxels and affine, so equal volumes are recognized in any file format.
    """

    sha256: Sha256
    grid: GridRecord
    dtype: str
    format: str


class PreprocessRecord(_Part):
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


class TilingRecord(_Part):
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


class LatentStatistics(_Part):
    """Mean and standard deviation of each channel, unscaled.

    ``posterior_std`` is the root mean square, over the voxels, of the standard deviation of the
    posterior: the noise that the decoder tolerates. Records of version 1 do not have it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    posterior_std: tuple[float, ...] | None = None


class StepResponse(_Part):
    """Response of the decoder to rounding of the latent, measured on a crop of the volume.

    Attributes:
        crop: Sides of the crop in latent voxels.
        rmse_hu: RMSE in HU of the reconstruction from the latent as encoded, inside the window of
            the model.
        change_hu: Root mean square change in HU of the reconstruction when the error of rounding
            has the standard deviation of the posterior in each channel.
    """

    crop: Sides
    rmse_hu: float = Field(ge=0)
    change_hu: float = Field(ge=0)

    def rmse_rise(self, variance_ratio: float) -> float | None:
        """Predict the relative rise of the RMSE by rounding; .01 is a rise by 1 %.

        The error of rounding is independent of that of the reconstruction, so that their squares
        add up.

        Args:
            variance_ratio: Variance of the rounding error over that of the posterior, on average
                over the channels.
        """
        if not self.rmse_hu:
            return None
        return math.sqrt(1.0 + variance_ratio * (self.change_hu / self.rmse_hu) ** 2) - 1.0


class QuantizationRecord(_Part):
    """Storage type of the values and the error of the stored values.

    Attributes:
        dtype: Type in the file; ``coded`` for range-coded integers.
        slope: Factor of all stored numbers of an int16 file.
        inter: Summand of an int16 file.
        max_abs_error: Largest error in latent units, against the latent as encoded.
        rmse: Root mean square error in latent units.
        step: Standard deviation of the rounding error that was asked for, in those of the
            posterior; int8 and coded only.
        steps: Step of each channel in latent units: a value is its step times the sum of stored
            integer and origin. int8 and coded only.
        origins: Integer that a stored 0 represents, for each channel.
        integers_sha256: Digest of the stored integers ``(C, X, Y, Z)`` in little-endian int32.
        rmse_rise: Predicted rise of the RMSE in HU, as a fraction; null if it was not measured how
            the decoder responds.
    """

    dtype: Literal["int8", "int16", "float32", "coded", "uint16", "int32"]
    slope: float = 1.0
    inter: float = 0.0
    max_abs_error: float = 0.0
    rmse: float = 0.0
    step: float | None = None
    steps: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    origins: tuple[int, ...] | None = None
    integers_sha256: Sha256 | None = None
    rmse_rise: float | None = None

    @model_validator(mode="after")
    def _check(self) -> QuantizationRecord:
        steps, origins = self.steps, self.origins
        if (self.dtype in {"int8", "coded"}) != (steps is not None and origins is not None):
            raise ValueError("int8 and coded have steps and origins, other types have none")
        if steps is not None and origins is not None and len(steps) != len(origins):
            raise ValueError("steps and origins are of different length")
        return self


class RunRecord(_Part):
    """Software, device and cost of the computation; nothing here affects the latent's meaning.

    ``source_files`` is a digest of the sizes and times of the source files and of the options with
    which they were read. It identifies an unchanged source without reading it.
    """

    versions: dict[str, str]
    device: str
    seconds: float
    peak_memory_mb: float
    source_files: Sha256 | None = None


class LatentRecord(_Part):
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


@dataclass(frozen=True, eq=False)
class Latent:
    """Latent volume with its geometry and record.

    Attributes:
        array: Posterior means or a sample ``(C, X, Y, Z)`` in float32, unscaled; codes ``(X, Y,
            Z)`` as integers.
        grid: Positions of the latent voxels, each at the center of its block of CT voxels.
        record: Origin of the latent and the steps needed to decode it.
        std: Standard deviations of the posterior ``(C, X, Y, Z)`` in float32, if the record says
            that the latent has them.

    Raises:
        InputError: If array, grid and record are inconsistent.
    """

    array: NDArray[np.float32] | NDArray[np.integer]
    grid: Grid
    record: LatentRecord
    std: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.array.shape if self.record.posterior else None
        if shape != (None if self.std is None else self.std.shape):
            raise InputError(
                "the standard deviations of a latent do not fit its record or its means",
                "the files do not belong together; encode the source again",
            )
        codes = self.record.kind == "codes"
        if self.array.ndim != (3 if codes else 4) or self.array.shape[-3:] != self.grid.shape:
            raise InputError(
                f"a latent of kind {self.record.kind} with shape {self.array.shape} does not fit "
                f"a grid of {self.grid.shape}"
            )
        if codes != np.issubdtype(self.array.dtype, np.integer):
            raise InputError(
                f"latents of kind {self.record.kind} cannot be stored as {self.array.dtype}"
            )
        expected = self.record.latent_grid()
        # Positions in float32 headers have about seven digits.
        if expected.shape != self.grid.shape or expected.distance_mm(self.grid) > 1e-2:
            raise InputError(
                f"the latent's grid {self.grid.shape} does not follow from its record, which "
                f"gives {expected.shape} and is {expected.distance_mm(self.grid):.3g} mm away",
                "the files do not belong together; encode the source again",
            )

    def __repr__(self) -> str:
        record = self.record
        channels = "" if record.kind == "codes" else f"{len(self.array)} channels, "
        return (
            f"Latent({record.kind}, {channels}{self.grid}, "
            f"{self.array.min():.4g} to {self.array.max():.4g}, "
            f"factor {' x '.join(map(str, record.factor))}, model {record.model.name} "
            f"{record.model.sha256[:8]})"
        )

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.array.nbytes + (0 if self.std is None else self.std.nbytes)
