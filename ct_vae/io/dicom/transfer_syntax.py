"""Transfer syntaxes, and their detection from the content of a file.

The transfer syntax in the meta header may be wrong, for example after a conversion. The encoding of
the first element and the signature of a compressed frame take precedence where they are
unambiguous.
"""

from __future__ import annotations

import struct
import zlib

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}

RLE = "1.2.840.10008.1.2.5"
_JPEG_ROOT = "1.2.840.10008.1.2.4."
JPEG_2000 = f"{_JPEG_ROOT}90"
HTJ2K = {f"{_JPEG_ROOT}{n}" for n in (201, 202, 203)}
JPEG_2000_ALL = {JPEG_2000, f"{_JPEG_ROOT}91", *HTJ2K}
JPEG_LS = {f"{_JPEG_ROOT}{n}" for n in (80, 81)}
JPEG = {f"{_JPEG_ROOT}{n}" for n in (50, 51, 57, 70)}
JPEG_XL = {f"{_JPEG_ROOT}{n}" for n in (110, 111, 112)}
ENCAPSULATED = {RLE, *JPEG, *JPEG_LS, *JPEG_2000_ALL, *JPEG_XL}
_FAMILIES = ({RLE}, JPEG, JPEG_LS, JPEG_2000_ALL, JPEG_XL)

# Transfer syntaxes by frame marker: baseline, extended, lossless, and JPEG-LS.
_BY_FRAME_MARKER = {0xC0: "50", 0xC1: "51", 0xC3: "57", 0xF7: "81"}
# Start-of-frame markers of JPEG, without the Huffman and arithmetic tables, and that of JPEG-LS.
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_RLE_HEADER_BYTES = 64
_VALUE_REPRESENTATIONS = set(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR "
    b"US UT UV".split()
)


def native_syntax(first: bytes, declared: str) -> str:
    """Detect the encoding of a data set from its first element.

    Args:
        first: First bytes after the meta header.
        declared: Transfer syntax UID in the meta header.

    Returns:
        UID of the detected syntax, or ``declared`` if the bytes are ambiguous.
    """
    if len(first) < 8:
        return declared
    explicit = first[4:6] in _VALUE_REPRESENTATIONS
    group = struct.unpack("<H", first[:2])[0]
    if group == 0x0008:
        size = struct.unpack("<I", first[4:8])[0]
        return EXPLICIT if explicit else IMPLICIT if size < 1 << 16 else declared
    if group == 0x0800 and explicit:
        return BIG_ENDIAN
    return DEFLATED if _is_deflated(first) else declared


def frame_syntax(frame: bytes, declared: str) -> str:
    """Detect the compression of a frame from its signature.

    Args:
        frame: First bytes of the frame.
        declared: Transfer syntax UID in the meta header.

    Returns:
        UID of the detected syntax, or ``declared`` if the signature belongs to the same family or
        is unknown.
    """
    found = _signed(frame)
    same = any(found in family and declared in family for family in _FAMILIES)
    return declared if same or not found else found


def _is_deflated(first: bytes) -> bool:
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(first, 8)
    except zlib.error:
        return False
    return inflated[:2] == b"\x08\0" and inflated[4:6] in _VALUE_REPRESENTATIONS


def _signed(frame: bytes) -> str:
    if frame.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return f"{_JPEG_ROOT}112"
    if frame.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")):
        return JPEG_2000
    if frame.startswith(b"\xff\xd8\xff"):
        marker = _frame_marker(frame)
        return _JPEG_ROOT + _BY_FRAME_MARKER[marker] if marker in _BY_FRAME_MARKER else ""
    if len(frame) >= _RLE_HEADER_BYTES:
        segments, start, *rest = struct.unpack("<16I", frame[:_RLE_HEADER_BYTES])
        known = segments in (1, 2, 4) and start == _RLE_HEADER_BYTES
        if known and not any(rest[segments - 1 :]):
            return RLE
    return ""


def _frame_marker(frame: bytes) -> int:
    """Return the start-of-frame marker of a JPEG image, or 0."""
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in FRAME_MARKERS:
            return marker
        size = struct.unpack(">H", frame[at + 2 : at + 4])[0]
        if marker != 0xFF and size < 2:
            break
        at += 1 if marker == 0xFF else 2 + size
    return 0
