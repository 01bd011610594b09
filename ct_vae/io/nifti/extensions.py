"""Comments between the header of a NIfTI file and its voxels."""

from __future__ import annotations

from collections.abc import Iterator

# Code of a comment in a NIfTI header extension.
_COMMENT_CODE = 6
# Sizes of extensions, which include their own eight bytes of size and code, are multiples of 16.
_UNIT = 16
_HEAD = 8


def comment_extension(text: bytes) -> bytes:
    """Return a header extension with a comment, after the four-byte flag of extensions."""
    size = -(-(_HEAD + len(text)) // _UNIT) * _UNIT
    head = size.to_bytes(4, "little") + _COMMENT_CODE.to_bytes(4, "little")
    return b"\1\0\0\0" + head + text.ljust(size - _HEAD, b"\0")


def comments_in(extensions: bytes) -> Iterator[bytes]:
    """Yield the comments in the header extensions of a little-endian file."""
    position = 4
    while extensions[:1] != b"\0" and position + _HEAD <= len(extensions):
        size = int.from_bytes(extensions[position : position + 4], "little")
        code = int.from_bytes(extensions[position + 4 : position + _HEAD], "little")
        if code == _COMMENT_CODE:
            yield extensions[position + _HEAD : position + size].rstrip(b"\0")
        if size < _UNIT:
            break
        position += size
