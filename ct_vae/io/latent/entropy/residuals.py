"""Residuals of one context: their range coding, and streams that are used part by part.

High parts are coded with the generalized normal distribution that suits them best, low bits, which
are nearly uniform, follow, and high parts that are no symbol are escapes that follow in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from ct_vae.io.latent.entropy.distributions import HALF, MODELS, SYMBOLS, best_model, frequencies
from ct_vae.io.latent.entropy.lattice import Integers
from ct_vae.io.latent.entropy.prediction import LARGEST

# Attributes of the extension module, not modules that could be imported by name.
_models = constriction.stream.model

PARAMETERS = np.dtype([("count", "<u8"), ("escapes", "<u4"), ("shift", "u1"), ("model", "u1")])
# Residuals are held in int16 where they fit.
Residuals = NDArray[np.int16] | NDArray[np.int32]

# Residuals that are coded at once.
_BLOCK = 1 << 14
# Mean magnitude of high parts, in bits: few enough for few escapes, enough for uniform low bits.
_HIGH_BITS = 4
_MOST_LOW_BITS = 20
# Symbols with as many low bits fit into int16.
_LOW_BITS_OF_INT16 = 7
_INT16 = np.iinfo(np.int16)
# Symbol of residuals that follow in full, as numbers of 22 bits.
_ESCAPE = 0
_ANY_RESIDUAL = _models.Uniform(1 << 22)
_OFFSET = 2 * LARGEST


@dataclass
class ResidualStream:
    """Residuals of one context and how many of them have been used."""

    residuals: Residuals
    used: int = 0

    def take(self, count: int) -> Residuals:
        """Return the next residuals.

        Raises:
            ValueError: If there are fewer.
        """
        self.used += count
        if self.used > len(self.residuals):
            raise ValueError
        return self.residuals[self.used - count : self.used]


def join(parts: Sequence[Residuals]) -> Residuals:
    """Return parts as one array, in int16 if all of them are."""
    joined: Residuals = np.concatenate([np.empty(0, dtype=np.int16), *parts])
    return joined


def narrow(residuals: Integers) -> Residuals:
    """Return residuals in int16 if they fit."""
    if not residuals.size or max(int(residuals.max()), -int(residuals.min())) <= _INT16.max:
        return residuals.astype(np.int16)
    return residuals


def encode_residuals(encoder: Any, row: np.void, residuals: Residuals) -> None:
    """Append the residuals of a context to what is coded.

    Args:
        encoder: Range encoder of constriction.
        row: Parameters of the context, of type `PARAMETERS`, which are set.
        residuals: Residuals in their order.
    """
    row["count"] = len(residuals)
    if not len(residuals):
        return
    mean = sum(int(np.abs(block).sum()) for block in _blocks(residuals)) // len(residuals)
    row["shift"] = shift = max(0, mean.bit_length() - _HIGH_BITS)
    split = partial(_split, residuals, shift)
    # Small contexts are many, so they are split once only.
    symbols = list(split()) if len(residuals) <= _BLOCK else None
    histogram = np.zeros(SYMBOLS, dtype=np.int64)
    for each in symbols or split():
        histogram += np.bincount(each, minlength=SYMBOLS)
    row["model"], row["escapes"] = best_model(histogram), histogram[_ESCAPE]
    categorical = _categorical(int(row["model"]))
    for each in symbols or split():
        encoder.encode(each, categorical)
    if shift:
        for block in _blocks(residuals):
            low = block + ((1 << shift) >> 1) & ((1 << shift) - 1)
            encoder.encode(low, _models.Uniform(1 << shift))
    if row["escapes"]:
        for block, each in zip(_blocks(residuals), split(), strict=True):
            encoder.encode(block[each == _ESCAPE] + _OFFSET, _ANY_RESIDUAL)


def decode_residuals(decoder: Any, row: np.void) -> ResidualStream:
    """Decode the residuals of a context.

    Args:
        decoder: Range decoder of constriction.
        row: Parameters of the context, of type `PARAMETERS`.

    Raises:
        ValueError: If the parameters are damaged.
    """
    count, expected, shift, model = row.item()
    if not count:
        return ResidualStream(np.empty(0, dtype=np.int16))
    if shift > _MOST_LOW_BITS or model >= MODELS:
        raise ValueError
    residuals: Residuals = np.empty(
        count, dtype=np.int16 if shift <= _LOW_BITS_OF_INT16 else np.int32
    )
    escapes = 0
    for part in _parts(residuals):
        part[...] = decoder.decode(_categorical(model), len(part))
        escapes += len(part) - int(np.count_nonzero(part))
    if escapes != expected:
        raise ValueError
    residuals -= HALF
    if shift:
        residuals <<= shift
        for part in _parts(residuals):
            low = decoder.decode(_models.Uniform(1 << shift), len(part))
            part[...] += low.astype(part.dtype) - ((1 << shift) >> 1)
    if escapes:
        # Below all symbols but that of escapes, whatever the low bits are.
        lowest = (1 - HALF << shift) - ((1 << shift) >> 1)
        residuals = _with_escapes(decoder, residuals, lowest)
    return ResidualStream(residuals)


def _with_escapes(decoder: Any, residuals: Residuals, lowest: int) -> Residuals:
    for start in range(0, len(residuals), _BLOCK):
        places = np.flatnonzero(residuals[start : start + _BLOCK] < lowest) + start
        if places.size:
            values = decoder.decode(_ANY_RESIDUAL, len(places)) - _OFFSET
            if narrow(values).dtype == np.int32:
                residuals = residuals.astype(np.int32, copy=False)
            residuals[places] = values
    return residuals


def _parts(residuals: Residuals) -> Iterator[Residuals]:
    """Divide residuals into views of a limited size."""
    if len(residuals) <= _BLOCK:
        yield residuals
        return
    for start in range(0, len(residuals), _BLOCK):
        yield residuals[start : start + _BLOCK]


def _blocks(residuals: Residuals) -> Iterator[Integers]:
    for part in _parts(residuals):
        yield part.astype(np.int32, copy=False)


def _split(residuals: Residuals, shift: int) -> Iterator[Integers]:
    """Return the symbols of blocks: their high parts, or the escape."""
    for block in _blocks(residuals):
        high = block + ((1 << shift) >> 1)
        high >>= shift
        high += HALF
        # One comparison for both ends: negative numbers are large without a sign.
        high[high.view(np.uint32) >= SYMBOLS] = _ESCAPE
        yield high


@cache
def _categorical(model: int) -> Any:
    return _models.Categorical(frequencies(model), perfect=False)
