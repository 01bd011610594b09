"""Range coding of the integers of a latent.

Residuals of the prediction are sorted by channel and context. Those of a context are split into
high parts, coded with the generalized normal distribution that suits them best, and low bits, which
are nearly uniform. High parts that are no symbol are escapes and follow in full. Everything that
the decoder computes is in integers, or in floating-point numbers that stand for integers exactly.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.latent.entropy.distributions import HALF, MODELS, SYMBOLS, best_model, frequencies
from ct_vae.io.latent.entropy.lattice import Integers, lattice_passes, smoothest_last
from ct_vae.io.latent.entropy.prediction import CONTEXTS, LARGEST, Neighborhood, Weights

# Attributes of the extension module, not modules that could be imported by name.
_models, _queue = constriction.stream.model, constriction.stream.queue

# Mean magnitude of high parts, in bits: few enough for few escapes, enough for uniform low bits.
_HIGH_BITS = 4
_MOST_LOW_BITS = 20
_PARAMETERS = np.dtype([("count", "<u8"), ("escapes", "<u4"), ("shift", "u1"), ("model", "u1")])
_SIZE_BYTES = 4
# Symbol of residuals that follow in full, as numbers of 22 bits.
_ESCAPE = 0
_ANY_RESIDUAL = _models.Uniform(1 << 22)
_OFFSET = 2 * LARGEST
_LARGEST_PARAMETERS = 1 << 24


def encode_integers(integers: Integers) -> bytes:
    """Code integers ``(C, X, Y, Z)`` without loss.

    Raises:
        InputError: If a magnitude exceeds 2 ** 20 - 1.
    """
    if max(int(integers.max()), -int(integers.min())) > LARGEST:
        raise InputError(
            f"quantized values run from {integers.min()} to {integers.max()}, and coded latents "
            f"hold magnitudes up to {LARGEST}",
            "choose a larger step, or store as float32",
        )
    order = smoothest_last(integers)
    weights, contexts = _sorted_residuals(integers, order)
    encoder = _queue.RangeEncoder()
    parameters = np.zeros(len(integers) * CONTEXTS, dtype=_PARAMETERS)
    for row, parts in zip(parameters, contexts, strict=True):
        _encode_context(encoder, row, parts)
    head = [
        bytes(order),
        integers[:, 0, 0, 0].astype("<i4").tobytes(),
        parameters.tobytes(),
        *(each.tobytes() for each in weights),
    ]
    packed = zlib.compress(b"".join(head), 9)
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return len(packed).to_bytes(_SIZE_BYTES, "little") + packed + words


def decode_integers(coded: bytes, shape: tuple[int, int, int, int]) -> Integers:
    """Decode integers of a shape ``(C, X, Y, Z)``.

    Raises:
        InputError: If the bytes are damaged or of another shape.
    """
    try:
        parts = _unpack(coded, shape)
        decoder = _queue.RangeDecoder(parts.words)
        streams = [_decode_context(decoder, row) for row in parts.parameters]
        return _rebuild(shape, parts, streams)
    except (AssertionError, IndexError, ValueError, zlib.error) as error:
        raise InputError(
            "holds coded values that are damaged", "encode its source again"
        ) from error


@dataclass(frozen=True)
class _Parts:
    order: tuple[int, int, int]
    first: Integers
    parameters: NDArray[np.void]
    weights: NDArray[np.int8]
    words: NDArray[np.uint32]


@dataclass
class _Stream:
    """Residuals of one context and how many of them have been used."""

    residuals: Integers
    used: int = 0

    def take(self, count: int) -> Integers:
        self.used += count
        if self.used > len(self.residuals):
            raise ValueError
        return self.residuals[self.used - count : self.used]


def _sorted_residuals(
    integers: Integers, order: tuple[int, int, int]
) -> tuple[list[Weights], list[list[Integers]]]:
    """Return the weights of each pass, and for each channel and context its residuals."""
    magnitudes = np.zeros_like(integers)
    weights: list[Weights] = []
    contexts: list[list[Integers]] = [[] for _ in range(len(integers) * CONTEXTS)]
    for step in lattice_passes(integers.shape[1:], order):
        near = Neighborhood.of(step, integers, magnitudes)
        target = step.view(integers, step.added)
        weights.append(near.fit(target))
        residuals = target - near.predict(weights[-1])
        sizes = np.abs(residuals)
        step.view(magnitudes, step.added)[...] = sizes
        for channel in range(len(integers)):
            places, counts = _by_context(near.contexts(channel, sizes))
            parts = np.split(residuals[:, channel].ravel()[places], np.cumsum(counts)[:-1])
            for k, part in enumerate(parts, start=channel * CONTEXTS):
                contexts[k].append(part)
    return weights, contexts


def _rebuild(shape: tuple[int, int, int, int], coded: _Parts, streams: list[_Stream]) -> Integers:
    integers = np.zeros(shape, dtype=np.int32)
    integers[:, 0, 0, 0] = np.clip(coded.first, -LARGEST, LARGEST)
    magnitudes = np.zeros_like(integers)
    for step, fitted in zip(lattice_passes(shape[1:], coded.order), coded.weights, strict=True):
        near = Neighborhood.of(step, integers, magnitudes)
        values = near.predict(fitted)
        sizes = np.empty_like(values)
        for channel in range(shape[0]):
            places, counts = _by_context(near.contexts(channel, sizes))
            own = streams[channel * CONTEXTS : (channel + 1) * CONTEXTS]
            parts = [stream.take(int(n)) for stream, n in zip(own, counts, strict=True)]
            residuals = np.empty(places.size, dtype=np.int32)
            residuals[places] = np.concatenate(parts)
            shaped = residuals.reshape(values[:, channel].shape)
            np.abs(shaped, out=sizes[:, channel])
            values[:, channel] += shaped
        step.view(magnitudes, step.added)[...] = sizes
        step.view(integers, step.added)[...] = np.clip(values, -LARGEST, LARGEST, out=values)
    return integers


def _by_context(context: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the order that sorts by context, and the number of values in each."""
    flat = context.ravel()
    return np.argsort(flat, kind="stable"), np.bincount(flat, minlength=CONTEXTS)


def _encode_context(encoder: Any, row: np.void, parts: list[Integers]) -> None:
    residuals = np.concatenate([*parts, np.empty(0, dtype=np.int32)])
    row["count"] = residuals.size
    if not residuals.size:
        return
    shift = max(0, int(np.abs(residuals).mean()).bit_length() - _HIGH_BITS)
    shifted = residuals + ((1 << shift) >> 1)
    high = shifted >> shift
    escapes = np.abs(high) >= HALF
    symbols = np.where(escapes, _ESCAPE, high + HALF)
    model = best_model(np.bincount(symbols, minlength=SYMBOLS))
    row["shift"], row["model"], row["escapes"] = shift, model, np.count_nonzero(escapes)
    encoder.encode(symbols, _categorical(model))
    if shift:
        encoder.encode(shifted & ((1 << shift) - 1), _models.Uniform(1 << shift))
    if row["escapes"]:
        encoder.encode(residuals[escapes] + _OFFSET, _ANY_RESIDUAL)


def _decode_context(decoder: Any, row: np.void) -> _Stream:
    count, shift = int(row["count"]), int(row["shift"])
    if not count:
        return _Stream(np.empty(0, dtype=np.int32))
    if shift > _MOST_LOW_BITS or row["model"] >= MODELS:
        raise ValueError
    residuals = decoder.decode(_categorical(int(row["model"])), count)
    escapes = np.flatnonzero(residuals == _ESCAPE)
    if len(escapes) != row["escapes"]:
        raise ValueError
    residuals -= HALF
    residuals <<= shift
    if shift:
        residuals += decoder.decode(_models.Uniform(1 << shift), count)
        residuals -= (1 << shift) >> 1
    if len(escapes):
        residuals[escapes] = decoder.decode(_ANY_RESIDUAL, len(escapes)) - _OFFSET
    return _Stream(residuals)


def _categorical(model: int) -> Any:
    return _models.Categorical(frequencies(model), perfect=False)


def _unpack(coded: bytes, shape: tuple[int, int, int, int]) -> _Parts:
    """Split coded bytes.

    Raises:
        ValueError: If they are not those of such a shape.
        zlib.error: If they are damaged.
    """
    channels, sides = shape[0], shape[1:]
    size = int.from_bytes(coded[:_SIZE_BYTES], "little")
    unpacker = zlib.decompressobj()
    head = unpacker.decompress(coded[_SIZE_BYTES : _SIZE_BYTES + size], _LARGEST_PARAMETERS)
    order = (head[0], head[1], head[2])
    if sorted(order) != [0, 1, 2]:
        raise ValueError
    rows = channels * CONTEXTS
    passes = sum(1 for _ in lattice_passes(sides, order))
    ends = np.cumsum([3, 4 * channels, rows * _PARAMETERS.itemsize, 2 * channels * passes])
    if len(head) != ends[-1]:
        raise ValueError
    parameters = np.frombuffer(head, _PARAMETERS, rows, offset=int(ends[1]))
    # Before anything of that size is allocated.
    if sum(int(n) for n in parameters["count"]) != channels * (math.prod(sides) - 1):
        raise ValueError
    weights = np.frombuffer(head, np.int8, offset=int(ends[2])).reshape(passes, channels, 2)
    return _Parts(
        order,
        np.frombuffer(head, "<i4", channels, offset=3).astype(np.int32),
        parameters,
        weights,
        np.frombuffer(coded, "<u4", offset=_SIZE_BYTES + size).astype(np.uint32),
    )
