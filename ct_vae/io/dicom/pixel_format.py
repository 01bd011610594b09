"""Pixel format of an image, and checks of the pixel data against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ct_vae.io.dicom.dataset import PixelPlace, inflate
from ct_vae.io.dicom.padding import declared_padding
from ct_vae.io.dicom.transfer_syntax import DEFLATED, ENCAPSULATED, NATIVE

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Largest padding after the pixels in bytes, for writers that pad to block or page sizes.
_MOST_PADDING = 1 << 16
_OVERLAYS = range(0x6000, 0x6020, 2)
PIXEL_TAGS: list[str | int] = [
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("LossyImageCompression", "ModalityLUTSequence"),
    # OverlayBitPosition: above 0 for an overlay in the high bits of the pixels.
    *((group << 16) | 0x0102 for group in _OVERLAYS),
]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """Pixel format of one image.

    Attributes:
        rows: Number of rows; 0 if not declared, like the other numbers.
        columns: Number of columns.
        allocated: Bits allocated per pixel.
        stored: Bits stored per pixel, the lowest of those allocated.
        signed: True if values are in two's complement; ``None`` if not declared.
        padding: Lowest and highest stored value that is padding.
        overlay: True if the unused bits contain an overlay.
        lossy: True if lossy compression was applied before.
        fault: Reason why the format is not supported; empty if it is.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool | None
    padding: tuple[int, int] | None
    overlay: bool
    lossy: bool
    fault: str

    @property
    def bytes(self) -> int:
        """Size of an uncompressed image in bytes."""
        return self.rows * self.columns * self.allocated // 8


def read_pixel_format(dataset: Dataset) -> PixelFormat:
    """Read the pixel format of a file; ``fault`` states why a format is not supported."""
    names = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    declared = {name: dataset.get(name) for name in names}
    missing = [name for name, value in declared.items() if value in (None, "")]
    rows, columns, allocated, stored, sign = (int(value or 0) for value in declared.values())
    high = dataset.get("HighBit")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    fault = ""
    if missing:
        fault = f"lack {', '.join(missing)}"
    elif min(rows, columns) < 1:
        fault = f"have {rows} rows and {columns} columns"
    elif samples != 1:
        fault = f"have {samples} values per pixel, like color images"
    elif allocated not in (8, 16, 32) or not 1 <= stored <= allocated or sign not in (0, 1):
        fault = f"store pixels in {stored} of {allocated} bits with PixelRepresentation {sign}"
    elif high not in (None, "") and int(high) != stored - 1:
        fault = f"have their highest bit at {int(high)} for {stored} bits"
    elif "ModalityLUTSequence" in dataset:
        fault = "map stored values to HU by a lookup table, which is not supported"
    overlays = [dataset.get((group, 0x0102)) for group in _OVERLAYS]
    return PixelFormat(
        rows=rows,
        columns=columns,
        allocated=allocated,
        stored=stored,
        signed=None if sign not in (0, 1) else bool(sign),
        padding=None if fault else declared_padding(dataset, allocated, bool(sign)),
        overlay=any(element is not None and int(element.value or 0) for element in overlays),
        lossy=str(dataset.get("LossyImageCompression") or "").strip() == "01",
        fault=fault,
    )


def declared_fault(place: PixelPlace | None, pixels: PixelFormat | None, frames: int = 1) -> str:
    """Return the fault of the pixel data as declared, before they are read, or ``""``."""
    if place is None or pixels is None:
        return "has no pixel data and is truncated"
    if place.syntax not in NATIVE | ENCAPSULATED:
        return f"is stored in the transfer syntax {place.syntax}, which cannot be decoded"
    if place.length is None:
        return ""
    wanted = pixels.bytes * frames
    if place.available is not None and place.available < min(wanted, place.length):
        return f"is truncated: it has {place.available} of {wanted} bytes of its pixels"
    excess = excess_bytes(place, pixels, frames)
    if place.length < wanted or (excess and not _is_padding(place, pixels, wanted)):
        return f"declares {place.length} bytes of pixel data, but its size requires {wanted}"
    return ""


def excess_bytes(place: PixelPlace | None, pixels: PixelFormat | None, frames: int = 1) -> int:
    """Return the number of bytes after the last pixel, except a byte for an even length."""
    if place is None or pixels is None or place.length is None:
        return 0
    wanted = pixels.bytes * frames
    return max(0, place.length - wanted - wanted % 2)


def _is_padding(place: PixelPlace, pixels: PixelFormat, wanted: int) -> bool:
    """Return whether the bytes after the last pixel are constant or shorter than a row."""
    assert place.length is not None
    excess = place.length - wanted
    if excess < pixels.columns * pixels.allocated // 8:
        return True
    if excess > wanted + _MOST_PADDING:
        return False
    if place.syntax == DEFLATED:
        data = inflate(place.path, place.start, place.offset + place.length)[
            place.offset + wanted :
        ]
    else:
        with place.path.open("rb") as file:
            file.seek(place.offset + wanted)
            data = file.read(excess)
    return len(set(data)) == 1
