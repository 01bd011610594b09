"""Parts of a latent's record about its values: statistics, storage, and the error of storage."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.latent.record_part import RecordPart, Sha256, Sides


class LatentStatistics(RecordPart):
    """Mean and standard deviation of each channel, unscaled.

    ``posterior_std`` is the root mean square, over the voxels, of the standard deviation of the
    posterior: the noise that the decoder tolerates. Records of version 1 do not have it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    posterior_std: tuple[float, ...] | None = None


class StepResponse(RecordPart):
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


class QuantizationRecord(RecordPart):
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
