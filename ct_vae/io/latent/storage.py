"""Numbers that a latent file holds for the values of a latent, and the way back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.io.latent.blocks import blocks
from ct_vae.io.latent.entropy.rounding import round_cheaply
from ct_vae.io.latent.int16 import check_finite, dequantize_int16, quantize_int16
from ct_vae.io.latent.layout import check_layout
from ct_vae.io.latent.quantized import (
    NEAREST_STEP,
    check_step,
    dequantize,
    fit_int8,
    posterior_steps,
    quantize_values,
)
from ct_vae.latent import Latent, LatentRecord, Layout, QuantizationRecord

LatentDtype = Literal["int8", "int16", "float32", "coded"]

# Forms whose steps follow the posterior.
STEPPED = ("int8", "coded")
# Standard deviations of the posterior are stored with errors of this share of their mean square.
_STEP_OF_STD = 1 / 16

Values = NDArray[Any]


@dataclass(frozen=True)
class LatentForm:
    """Form in which latents are stored.

    Attributes:
        dtype: Storage; ``None`` (the default) takes that of the layout.
        layout: Layout of NIfTI files.
        step: Standard deviation of the rounding error for int8 and coded, in those of the
            posterior; ``None`` means 1.
        posterior: True if the standard deviations of the posterior are stored too.
    """

    dtype: LatentDtype | None = None
    layout: Layout = "plain"
    step: float | None = None
    posterior: bool = False

    @property
    def storage(self) -> LatentDtype:
        """Storage, resolved."""
        return self.dtype or default_dtype(self.layout, self.posterior)

    @property
    def stored_step(self) -> float | None:
        """Step as the record of a latent states it."""
        return (1.0 if self.step is None else self.step) if self.storage in STEPPED else None

    def check(self, codes: bool, axcodes: str) -> None:
        """Check that the form exists and holds the latents of a model.

        Args:
            codes: True if the latents consist of codes.
            axcodes: Directions of the axes of the latents.

        Raises:
            ConfigError: If not.
        """
        if codes and self.dtype is not None:
            raise ConfigError(
                f"dtype {self.dtype} is about continuous latents, and this model makes codes, "
                "which are stored as integers of the size that they need",
                "leave it out",
            )
        check_dtype(self.storage, self.step)
        check_layout(self.layout, self.storage, codes, axcodes, self.posterior)

    def is_that_of(self, record: LatentRecord) -> bool:
        """Return true if a latent with this record is stored in this form."""
        how = record.quantisation
        if how is None or (record.layout, record.posterior) != (self.layout, self.posterior):
            return False
        # Codes are stored as their range demands.
        return record.kind == "codes" or (how.dtype, how.step) == (self.storage, self.stored_step)


def default_dtype(layout: Layout, posterior: bool = False) -> LatentDtype:
    """Return the storage where nothing else is asked for.

    Standard deviations are too small for the one slope that means and they share in int16.
    """
    return "int16" if layout == "plain" and not posterior else "float32"


@dataclass(frozen=True)
class Stored:
    """Content of a latent file.

    Attributes:
        numbers: Numbers to store, channels first; integers without their origins for int8.
        how: Storage and its error.
    """

    numbers: Values
    how: QuantizationRecord

    def values(self) -> Values:
        """Return the values that a reader gets, in the same order."""
        return _values(self.numbers, self.how)


def check_dtype(dtype: str, step: float | None) -> None:
    """Check the storage that a user asks for.

    Raises:
        ConfigError: If there is no such storage, it has no steps and one is given, or the step is
            not a positive number.
    """
    if dtype not in get_args(LatentDtype):
        raise ConfigError(
            f"latents are stored as {', '.join(get_args(LatentDtype))}, not {dtype!r}"
        )
    if step is not None and dtype not in STEPPED:
        raise ConfigError(
            f"a step is given, and {dtype} has none", f"store as {' or '.join(STEPPED)}"
        )
    if step is not None:
        check_step(step)


def store(latent: Latent, dtype: LatentDtype, step: float | None) -> Stored:
    """Convert the values of a latent to the numbers of a file.

    Args:
        latent: Latent to store; standard deviations of the posterior follow its means.
        dtype: Storage; codes are stored as uint16 or int32 whatever it is.
        step: Standard deviation of the rounding error for int8 and coded, in those of the
            posterior; defaults to 1. int8 uses larger steps for channels that exceed its range.

    Raises:
        InputError: If values are not finite, codes are negative or above int32, or the posterior
            is not known and the storage needs it.
    """
    if latent.record.kind == "codes":
        codes = _smallest_codes(latent.array)
        name: Literal["uint16", "int32"] = "uint16" if codes.dtype == np.uint16 else "int32"
        return Stored(codes, QuantizationRecord(dtype=name))
    values = latent.array.astype(np.float32, copy=False)
    if latent.std is not None:
        values = np.concatenate([values, latent.std.astype(np.float32, copy=False)])
    if dtype in STEPPED:
        stored = _stepped(latent, values, dtype, 1.0 if step is None else step)
    else:
        stored = _plain(values, dtype)
    return _with_errors(stored, values, latent)


def values_of(numbers: Values, how: QuantizationRecord) -> Values:
    """Return the values of stored numbers, channels first.

    Raises:
        InputError: If they do not fit the record, or are not finite.
    """
    if how.steps is not None and how.origins is not None:
        if len(how.steps) != len(numbers):
            raise InputError(f"has {len(numbers)} channels, its record says {len(how.steps)}")
        if how.integers_sha256 != integers_digest(numbers, how.origins):
            raise InputError(
                "holds integers that are not those of its record", "encode its source again"
            )
    return _values(numbers, how)


def split_posterior(values: Values, record: LatentRecord) -> tuple[Values, Values | None]:
    """Split the values of a file into means and, if the record says so, standard deviations.

    Raises:
        InputError: If the number of channels is odd.
    """
    if not record.posterior:
        return values, None
    if values.ndim != 4 or len(values) % 2:
        raise InputError("does not hold as many standard deviations as means")
    half = len(values) // 2
    return values[:half], values[half:]


def integers_digest(numbers: NDArray[np.integer], origins: Sequence[int]) -> str:
    """Return the SHA-256 of numbers plus the origins of their channels as little-endian int32."""
    digest = hashlib.sha256()
    for channel, origin in zip(numbers, origins, strict=True):
        for (part,) in blocks(channel):
            digest.update((part.astype(np.int32) + np.int32(origin)).astype("<i4").tobytes())
    return digest.hexdigest()


def _values(numbers: Values, how: QuantizationRecord, channels: slice = slice(None)) -> Values:
    """Return the values of some channels; all by default."""
    found = numbers[channels]
    if how.steps is not None and how.origins is not None:
        return dequantize(found, how.steps[channels], how.origins[channels])
    return dequantize_int16(found, how.slope, how.inter) if how.dtype == "int16" else found


def _plain(values: Values, dtype: str) -> Stored:
    if dtype == "float32":
        check_finite(values)
        return Stored(values, QuantizationRecord(dtype="float32"))
    quantized = quantize_int16(values)
    how = QuantizationRecord(dtype="int16", slope=quantized.slope, inter=quantized.inter)
    return Stored(quantized.stored, how)


def _stepped(latent: Latent, values: Values, dtype: LatentDtype, step: float) -> Stored:
    steps = posterior_steps(latent, step)
    if latent.std is not None:
        # Of the noise itself, whatever the error of the means may be.
        steps += tuple(_STEP_OF_STD * each for each in posterior_steps(latent, 1.0))
    check_finite(values)
    origins = (0,) * len(steps)
    if dtype == "int8":
        steps, origins = fit_int8(values, steps)
    numbers: Values = quantize_values(values, steps)
    if dtype == "coded" and step > NEAREST_STEP:
        # The means alone; standard deviations keep their own, small steps.
        means = slice(len(latent.array))
        round_cheaply(values[means], steps[means], numbers[means])
    if dtype == "int8":
        numbers -= np.array(origins, dtype=np.int32).reshape(-1, 1, 1, 1)
        numbers = numbers.astype(np.int8)
    how = QuantizationRecord(
        dtype="int8" if dtype == "int8" else "coded",
        step=step,
        steps=steps,
        origins=origins,
        integers_sha256=integers_digest(numbers, origins),
    )
    return Stored(numbers, how)


def _with_errors(stored: Stored, values: Values, latent: Latent) -> Stored:
    """Add the errors, on top of those that the values have had before."""
    record = latent.record
    before = record.quantisation or QuantizationRecord(dtype="float32")
    largest, squares = 0.0, []
    # The errors are those of the means; standard deviations have their own steps.
    for k, wanted in enumerate(values[: len(latent.array)]):
        square = 0.0
        # Channel by channel, so that one of them at most is held twice.
        for got, part in blocks(_values(stored.numbers, stored.how, slice(k, k + 1))[0], wanted):
            error = got.astype(np.float64) - part
            largest = max(largest, float(error.max()), -float(error.min()))
            square += float(np.square(error).sum())
        squares.append(square / wanted.size)
    variance = np.array(squares)
    changes = {
        "max_abs_error": before.max_abs_error + largest,
        "rmse": float(np.hypot(before.rmse, np.sqrt(variance.mean()))),
        "rmse_rise": _rmse_rise(record, variance, before),
    }
    return replace(stored, how=stored.how.model_copy(update=changes))


def _rmse_rise(
    record: LatentRecord, variance: NDArray[np.float64], before: QuantizationRecord
) -> float | None:
    """Predict the rise of the RMSE by errors of some variance in each channel."""
    response, statistics = record.step_response, record.statistics
    if response is None or statistics is None or not statistics.posterior_std:
        return None
    noise = np.square(statistics.posterior_std)
    if not noise.all():
        return None
    rise = response.rmse_rise(float(np.mean(variance / noise)))
    if rise is None:
        return None
    earlier = (1.0 + (before.rmse_rise or 0.0)) ** 2 - 1.0
    return float(np.sqrt((1.0 + rise) ** 2 + earlier)) - 1.0


def _smallest_codes(codes: NDArray[Any]) -> NDArray[Any]:
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise InputError(f"codes run from {low} to {high}; they must be 0 to 2147483647")
    return codes.astype(np.uint16 if high <= np.iinfo(np.uint16).max else np.int32)
