"""Padding of DICOM slices outside the field of view: its declaration and its mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Padding above this value may be tissue, so it counts only if it reaches the edge of the slice.
_TISSUE_HU = -900


def declared_padding(dataset: Dataset, bits: int, signed: bool) -> tuple[int, int] | None:
    """Return the lowest and highest stored value that is padding, or ``None`` if undeclared.

    The values get the sign of the stored values, because writers confuse signs.

    Args:
        dataset: Elements of the file.
        bits: Bits allocated per pixel.
        signed: True if stored values are in two's complement.
    """
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value: Any = dataset.get(keyword)
        if value is None or value in ("", b""):
            continue
        word = int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
        word %= 1 << bits
        ends.append(word - (1 << bits) if signed and word >> (bits - 1) else word)
    # PixelPaddingRangeLimit alone has no meaning.
    if not ends or dataset.get("PixelPaddingValue") in (None, "", b""):
        return None
    return min(ends), max(ends)


def padding_mask(values: NDArray[Any], ends: tuple[int, int] | None) -> NDArray[np.bool_] | None:
    """Return the mask of stored values in the range of padding; ``None`` without a range."""
    if ends is None:
        return None
    low, high = ends
    inside: NDArray[np.bool_]
    inside = values == low if low == high else (values >= low) & (values <= high)
    return inside


def outside_view(
    padding: NDArray[np.bool_] | None, ends: tuple[int, int] | None, slope: float, inter: float
) -> NDArray[np.bool_] | None:
    """Return the mask of pixels outside the field of view, or ``None`` if there are none.

    Some writers declare 0 as padding although it is the value of water. Padding with the value of
    tissue counts only where it reaches the edge of the slice.

    Args:
        padding: Mask of the pixels with the value of padding.
        ends: Lowest and highest stored value that is padding; ``None`` if undeclared.
        slope: Rescale slope from stored values to HU.
        inter: Rescale intercept in HU.
    """
    if padding is None or not padding.any():
        return None
    assert ends is not None
    if max(end * slope + inter for end in ends) <= _TISSUE_HU:
        return padding
    from scipy import ndimage

    parts, _ = ndimage.label(padding)
    rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    at_edge: NDArray[np.bool_] = np.isin(parts, np.unique(rim[rim > 0]))
    return at_edge
