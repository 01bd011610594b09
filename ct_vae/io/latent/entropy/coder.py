"""Range coding of the integers of a latent.

Residuals of the prediction are sorted by channel and context, and those of a context are coded
together. Everything that the decoder computes is in integers, or in floating-point numbers that
stand for integers exactly. Small groups of channels are coded one after the other, and within a
group voxels in slabs, so that less memory is needed than the latent itself takes.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import constriction
import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.latent.entropy.channel_groups import ChannelGroup, channel_groups
from ct_vae.io.latent.entropy.lattice import (
    Integers,
    Pass,
    lattice_passes,
    smoothest_last,
)
from ct_vae.io.latent.entropy.prediction import (
    CONTEXTS,
    LARGEST,
    Weights,
    fit_weights,
    magnitudes_of,
)
from ct_vae.io.latent.entropy.residuals import (
    PARAMETERS,
    Residuals,
    ResidualStream,
    decode_residuals,
    encode_residuals,
    join,
    narrow,
)

# Attributes of the extension module, not modules that could be imported by name.
_queue = constriction.stream.queue

_SIZE_BYTES = 4
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
    passes = tuple(lattice_passes(integers.shape[1:], order))
    weights = np.empty((len(passes), len(integers), 2), dtype=np.int8)
    parameters = np.zeros(len(integers) * CONTEXTS, dtype=PARAMETERS)
    encoder = _queue.RangeEncoder()
    for group in channel_groups(integers):
        contexts = _sorted_residuals(group, passes, weights[:, group.channels])
        for row, parts in zip(parameters[group.rows], contexts, strict=True):
            encode_residuals(encoder, row, join(parts))
            parts.clear()
    head = [
        bytes(order),
        integers[:, 0, 0, 0].astype("<i4").tobytes(),
        parameters.tobytes(),
        weights.tobytes(),
    ]
    packed = zlib.compress(b"".join(head), 9)
    words: bytes = encoder.get_compressed().astype("<u4", copy=False).data
    return b"".join([len(packed).to_bytes(_SIZE_BYTES, "little"), packed, words])


def decode_integers(coded: bytes, shape: tuple[int, int, int, int]) -> Integers:
    """Decode integers of a shape ``(C, X, Y, Z)``.

    Raises:
        InputError: If the bytes are damaged or of another shape.
    """
    try:
        parts = _unpack(coded, shape)
        integers = np.zeros(shape, dtype=np.int32)
        integers[:, 0, 0, 0] = np.clip(parts.first, -LARGEST, LARGEST)
        decoder = _queue.RangeDecoder(parts.words)
        for group in channel_groups(integers):
            streams = [decode_residuals(decoder, row) for row in parts.parameters[group.rows]]
            _rebuild(group, parts.passes, parts.weights[:, group.channels], streams)
        return integers
    except (AssertionError, IndexError, ValueError, zlib.error) as error:
        raise InputError(
            "holds coded values that are damaged", "encode its source again"
        ) from error


@dataclass(frozen=True)
class _Parts:
    passes: tuple[Pass, ...]
    first: Integers
    parameters: NDArray[np.void]
    weights: NDArray[np.int8]
    words: NDArray[np.uint32]


def _sorted_residuals(
    group: ChannelGroup, passes: tuple[Pass, ...], weights: Weights
) -> list[list[Residuals]]:
    """Set the weights of each pass; return the residuals of each channel and context."""
    contexts: list[list[Residuals]] = [[] for _ in range(len(group.integers) * CONTEXTS)]
    for step, fitted in zip(passes, weights, strict=True):
        known, added = (step.view(group.integers, at) for at in (step.known, step.added))
        fitted[...] = fit_weights(known, added)
        for _, slab in group.slabs(step):
            residuals = slab.values - slab.near.predict(fitted)
            slab.sizes[:, -len(group.integers) :] = magnitudes_of(residuals)
            for channel in range(len(group.integers)):
                places, counts = slab.sorting(channel)
                kept = narrow(residuals[:, channel].ravel()[places])
                end = 0
                for context in np.flatnonzero(counts):
                    start, end = end, end + int(counts[context])
                    contexts[channel * CONTEXTS + context].append(kept[start:end])
    return contexts


def _rebuild(
    group: ChannelGroup, passes: tuple[Pass, ...], weights: Weights, streams: list[ResidualStream]
) -> None:
    """Set the values of a group of channels; only the first voxel is known before."""
    for step, fitted in zip(passes, weights, strict=True):
        for _, slab in group.slabs(step):
            values = slab.near.predict(fitted)
            for channel in range(len(group.integers)):
                places, counts = slab.sorting(channel)
                own = streams[channel * CONTEXTS : (channel + 1) * CONTEXTS]
                used = np.flatnonzero(counts)
                residuals = np.empty(places.size, dtype=np.int32)
                residuals[places] = np.concatenate([own[k].take(int(counts[k])) for k in used])
                shaped = residuals.reshape(values[:, channel].shape)
                slab.sizes[:, channel - len(group.integers)] = magnitudes_of(shaped)
                values[:, channel] += shaped
            slab.values[...] = np.clip(values, -LARGEST, LARGEST, out=values)


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
    passes = tuple(lattice_passes(sides, order))
    ends = np.cumsum([3, 4 * channels, rows * PARAMETERS.itemsize, 2 * channels * len(passes)])
    if len(head) != ends[-1]:
        raise ValueError
    parameters = np.frombuffer(head, PARAMETERS, rows, offset=int(ends[1]))
    # Before anything of that size is allocated.
    if sum(int(n) for n in parameters["count"]) != channels * (math.prod(sides) - 1):
        raise ValueError
    weights = np.frombuffer(head, np.int8, offset=int(ends[2])).reshape(-1, channels, 2)
    return _Parts(
        passes,
        np.frombuffer(head, "<i4", channels, offset=3).astype(np.int32),
        parameters,
        weights,
        np.frombuffer(coded, "<u4", offset=_SIZE_BYTES + size).astype(np.uint32),
    )
