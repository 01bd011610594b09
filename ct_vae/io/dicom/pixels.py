"""Reading of the pixels of a series as HU; padding and rescale are those of each slice."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.dicom.codecs.compressed_frames import compressed_frames, decode_frame
from ct_vae.io.dicom.codecs.gdcm_pool import Gdcm
from ct_vae.io.dicom.dataset import AGAIN, inflate
from ct_vae.io.dicom.file import quiet
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.padding import outside_view, padding_mask
from ct_vae.io.dicom.pixel_format import PixelFormat
from ct_vae.io.dicom.transfer_syntax import BIG_ENDIAN, DEFLATED, ENCAPSULATED
from ct_vae.io.hounsfield.rescale import Hounsfield

# Threads mostly wait for disks and decoder processes; each has one slice in memory.
MAX_THREADS = 8
_INT16 = np.iinfo(np.int16)

Words = NDArray[Any]


@dataclass(frozen=True)
class SliceValues:
    """Values of one slice before rescale.

    Attributes:
        stored: ``(rows, columns)`` integers with their sign and without unused bits.
        padding: Mask of padding, or ``None`` if there is none.
    """

    stored: NDArray[Any]
    padding: NDArray[np.bool_] | None


class _BeyondInt16Error(Exception):
    """A slice has values outside int16."""


def read_hounsfield(
    headers: Sequence[ImageHeader],
    name: Callable[[int], str],
    padding_hu: float,
) -> Hounsfield:
    """Read all slices of a series.

    Args:
        headers: Checked headers in the order of the slices, with slope and intercept.
        name: Returns the name of a slice in errors from its index.
        padding_hu: Value for padding.

    Returns:
        ``(columns, rows, slices)`` in HU, first axis fastest: int16 if all values are integers in
        its range, else float32.

    Raises:
        InputError: If a slice is truncated or damaged.
    """
    whole = all(_is_whole(header) for header in headers) and float(padding_hu).is_integer()
    kinds = (np.int16, np.float32) if whole else (np.float32,)
    for kind in kinds:
        try:
            return _read_as(headers, name, padding_hu, np.dtype(kind))
        except _BeyondInt16Error:
            continue
    raise AssertionError("float32 has the range of any slice")


def iterate_slices(headers: Sequence[ImageHeader], gdcm: Gdcm) -> Iterator[tuple[int, SliceValues]]:
    """Read the slices of one file.

    Args:
        headers: Headers of the frames, or of the only image.
        gdcm: Decoder of compressed slices.

    Yields:
        Index in ``headers``, and the values.

    Raises:
        InputError: If the file is truncated or damaged.
    """
    for i, words in _words(headers, gdcm):
        pixels = headers[i].pixels
        assert pixels is not None
        yield i, _interpret(words, pixels)


def _read_as(
    headers: Sequence[ImageHeader],
    name: Callable[[int], str],
    padding_hu: float,
    dtype: np.dtype[Any],
) -> Hounsfield:
    first = headers[0].pixels
    assert first is not None
    stack = np.empty((len(headers), first.rows, first.columns), dtype)
    by_file: dict[Path, list[int]] = defaultdict(list)
    for i, header in enumerate(headers):
        by_file[header.path].append(i)

    def read(indices: list[int]) -> None:
        """Read all slices of one file; ``i`` is the current slice, for errors."""
        i = indices[0]
        try:
            for at, values in iterate_slices([headers[k] for k in indices], gdcm):
                i = indices[at]
                _rescale(values, headers[i], padding_hu, stack[i])
        except InputError as error:
            raise InputError(f"{name(i)} {error.cause}", error.hint) from error
        except OSError as error:
            raise InputError(f"{name(i)} cannot be read: {error.strerror or error}") from error

    threads = min(MAX_THREADS, 2 * (os.cpu_count() or 1), len(by_file))
    with Gdcm() as gdcm, quiet(), ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(read, indices) for indices in by_file.values()]
        try:
            for job in jobs:
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)
    volume: Hounsfield = stack.T
    return volume


def _words(headers: Sequence[ImageHeader], gdcm: Gdcm) -> Iterator[tuple[int, Words]]:
    """Yield the pixels of each slice as unsigned integers of the allocated width."""
    place, pixels = headers[0].place, headers[0].pixels
    assert place is not None
    assert pixels is not None
    if place.syntax in ENCAPSULATED:
        frames = compressed_frames(place, headers[0].frames)
        for i, header in enumerate(headers):
            yield i, decode_frame(frames[header.frame], place.syntax, pixels, gdcm)
        return
    order = ">" if place.syntax == BIG_ENDIAN else "<"
    dtype = np.dtype(f"{order}u{pixels.allocated // 8}")
    if place.syntax == DEFLATED:
        data = inflate(place.path, place.start, place.offset + pixels.bytes * headers[0].frames)
        for i, header in enumerate(headers):
            start = place.offset + header.frame * pixels.bytes
            yield i, _as_words(data[start : start + pixels.bytes], dtype, pixels)
        return
    with place.path.open("rb") as file:
        for i, header in enumerate(headers):
            file.seek(place.offset + header.frame * pixels.bytes)
            yield i, _as_words(file.read(pixels.bytes), dtype, pixels)


def _as_words(data: bytes, dtype: np.dtype[Any], pixels: PixelFormat) -> Words:
    if len(data) != pixels.bytes:
        raise InputError(
            f"is truncated: it has {len(data)} of {pixels.bytes} bytes of its pixels", AGAIN
        )
    words = np.frombuffer(data, dtype).reshape(pixels.rows, pixels.columns)
    return words if dtype.isnative else words.astype(dtype.newbyteorder("="))


def _interpret(words: Words, pixels: PixelFormat) -> SliceValues:
    """Apply sign, unused bits and padding; unused bits must be empty unless there is an overlay."""
    spare = pixels.allocated - pixels.stored
    kind = "i" if pixels.signed else "u"
    full = words.view(np.dtype(f"{kind}{words.dtype.itemsize}"))
    stored = full if not spare else (full << spare) >> spare
    padding = padding_mask(full, pixels.padding)
    if not spare:
        return SliceValues(stored, padding)
    padding_below = padding_mask(stored, pixels.padding)
    if padding is not None and padding_below is not None:
        padding |= padding_below
    if not pixels.overlay:
        plain = (words >> np.array(pixels.stored, words.dtype)) == 0
        odd = (stored != full) & ~plain
        if padding is not None:
            odd &= ~padding
        if odd.any():
            raise InputError(
                f"has {np.count_nonzero(odd)} values that use more than the declared "
                f"{pixels.stored} bits, without an overlay",
                "export it again without overlays in the pixel data",
            )
    return SliceValues(stored, padding)


def _rescale(
    values: SliceValues, header: ImageHeader, padding_hu: float, target: NDArray[Any]
) -> None:
    slope, inter = header.slope, header.inter
    assert slope is not None
    assert inter is not None
    assert header.pixels is not None
    padding = outside_view(values.padding, header.pixels.padding, slope, inter)
    stored = values.stored
    if target.dtype.kind == "f":
        scaled = stored.astype(np.float64)
        scaled *= slope
        scaled += inter
        with np.errstate(over="ignore"):
            target[:] = scaled
    else:
        if padding is not None:
            stored = np.where(padding, stored.dtype.type(0), stored)
        ends = [int(end) * slope + inter for end in (stored.min(), stored.max())]
        if min(ends) < _INT16.min or max(ends) > _INT16.max:
            raise _BeyondInt16Error
        if stored.dtype == np.int16 and slope == 1 and abs(inter) <= _INT16.max:
            np.add(stored, np.int16(inter), out=target)
        else:
            target[:] = stored.astype(np.int64) * int(slope) + int(inter)
    if padding is not None:
        target[padding] = padding_hu


def _is_whole(header: ImageHeader) -> bool:
    return float(header.slope or 0.5).is_integer() and float(header.inter or 0).is_integer()
