"""Latents as whole numbers of steps that follow the noise of the posterior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ct_vae.errors import ConfigError, InputError
from ct_vae.io.latent.blocks import blocks
from ct_vae.io.latent.entropy.lattice import Integers
from ct_vae.latent import Latent

# Rounding to multiples of a step has an error with the standard deviation step / sqrt(12).
STEP_OF_UNIT_ERROR = math.sqrt(12.0)
# Coded latents of larger steps, in standard deviations of the posterior, are rounded cheaply.
NEAREST_STEP = 1.0
_INT8_REACH = 127


def posterior_steps(latent: Latent, step: float) -> tuple[float, ...]:
    """Return the step of each channel in latent units.

    The decoder has been trained with latents that have the noise of the posterior. With a ``step``
    of 1, the rounding error of each channel has the standard deviation of that noise; the steps are
    then ``sqrt(12)`` times as large, because the error of rounding is uniform.

    Args:
        latent: Means or a sample, with the posterior's standard deviation in its record.
        step: Standard deviation of the rounding error, in standard deviations of the posterior.

    Raises:
        ConfigError: If ``step`` is not a positive number.
        InputError: If the latent consists of codes, or its record lacks the posterior's standard
            deviation.
    """
    check_step(step)
    statistics = latent.record.statistics
    if statistics is None:
        raise InputError(
            "a latent of codes is not quantized further", "leave out dtype, or take a KL model"
        )
    if statistics.posterior_std is None:
        raise InputError(
            "its record lacks the standard deviation of the posterior, which the steps follow",
            "encode the source again, or store the latent as int16 or float32",
        )
    return tuple(step * STEP_OF_UNIT_ERROR * std for std in statistics.posterior_std)


def check_step(step: float) -> None:
    """Check the step that a user asks for.

    Raises:
        ConfigError: If it is not a positive number.
    """
    if not (math.isfinite(step) and step > 0):
        raise ConfigError(f"the step of quantization must be a positive number, got {step}")


def quantize_values(values: np.ndarray, steps: tuple[float, ...]) -> Integers:
    """Round finite values ``(C, X, Y, Z)`` to whole numbers of the steps of their channels.

    Raises:
        InputError: If the steps are too small for int32.
    """
    integers = np.empty(values.shape, dtype=np.int32)
    for counts, channel, step in zip(integers, values, steps, strict=True):
        largest = max(float(channel.max()), -float(channel.min()))
        if largest > step * np.iinfo(np.int32).max or not step > 0:
            raise InputError(
                f"values up to {largest:.3g} are too large for steps of {step:.3g}",
                "choose a larger step, or store as float32",
            )
        for found, part in blocks(counts, channel):
            # In float64, so that half a step bounds the error.
            found[...] = np.rint(part / np.float64(step))
    return integers


def fit_int8(
    values: np.ndarray, steps: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return steps and origins with which every channel fits into -127 to 127."""
    fitted, origins = [], []
    for channel, step in zip(values, steps, strict=True):
        low, high = float(channel.min()), float(channel.max())
        # A step less than the range would hold leaves room for the rounding of both ends.
        wide = max(step, (high - low) / (2 * _INT8_REACH - 1))
        fitted.append(wide)
        origins.append(round((low + high) / (2 * wide)))
    return tuple(fitted), tuple(origins)


def dequantize(
    integers: np.ndarray, steps: Sequence[float], origins: Sequence[int] | None = None
) -> np.ndarray:
    """Return values ``(C, X, Y, Z)`` in float32: steps times integers, computed in float64.

    Args:
        integers: Whole numbers ``(C, X, Y, Z)`` of any integer type.
        steps: Step of each channel.
        origins: Number of each channel that is added to its integers; defaults to zeros.
    """
    values = np.empty(integers.shape, dtype=np.float32)
    starts = [0] * len(steps) if origins is None else origins
    for channel, counts, step, origin in zip(values, integers, steps, starts, strict=True):
        for found, part in blocks(channel, counts):
            found[...] = (part + np.float64(origin)) * step
    return values
