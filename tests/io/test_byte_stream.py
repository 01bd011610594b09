import contextlib
import gzip
import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.io.byte_stream import ByteStream

PACK = {"raw": bytes, "gzip": lambda data: gzip.compress(data, 1), "zlib": zlib.compress}
CONTENT = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
encodings = pytest.mark.parametrize("encoding", PACK)


def stream(data, encoding):
    return ByteStream(io.BytesIO(data), len(data), encoding)


def read_all(data, encoding):
    """Read the content and check what follows it."""
    reader = stream(data, encoding)
    found = reader.read(len(CONTENT))
    reader.finish((5000,), 1)
    return found


@encodings
@given(counts=st.lists(st.integers(0, 900), max_size=5))
def test_bytes_come_in_order_however_they_are_asked_for(encoding, counts):
    reader, position = stream(PACK[encoding](CONTENT), encoding), 0
    for number, wanted in enumerate(counts):
        count = wanted - wanted % 2
        assert reader.peek(7) == CONTENT[position : position + 7]
        if number % 3 == 0:
            assert reader.read(count) == CONTENT[position : position + count]
        elif number % 3 == 1:
            reader.skip(count)
        else:
            found = reader.array(count // 2, np.dtype("<i2"))
            assert found.tobytes() == CONTENT[position : position + count]
        position += count


@encodings
@given(cut=st.integers(1, 4990))
def test_a_truncated_stream_is_refused(encoding, cut):
    packed = PACK[encoding](CONTENT)
    with pytest.raises(InputError, match=r"is truncated|is damaged"):
        read_all(packed[: len(packed) - min(cut, len(packed))], encoding)


@encodings
def test_more_than_a_file_can_hold_is_refused_before_memory_is_allocated(encoding):
    reader = stream(PACK[encoding](CONTENT), encoding)
    with pytest.raises(InputError, match="its header declares 1000000000000 bytes"):
        reader.array(10**12, np.dtype(np.uint8))


@encodings
@pytest.mark.parametrize(
    ("more", "note"),
    [
        (0, ""),
        (3, "bytes after the voxels were ignored: 3"),
        (500, None),
        (5000, None),
    ],
)
def test_bytes_after_the_voxels_are_noted_unless_they_are_slices(encoding, more, note):
    content = CONTENT + b"\1" * more
    reader = stream(PACK[encoding](content), encoding)
    reader.read(len(CONTENT))
    if note is None:
        with pytest.raises(InputError, match="more than the 5000 bytes that its header declares"):
            reader.finish((10, 500), 1)
    else:
        assert reader.finish((10, 500), 1) == note


def test_members_of_gzip_are_joined_and_zeros_between_them_skipped():
    packed = PACK["gzip"](CONTENT[:2000]) + bytes(512) + PACK["gzip"](CONTENT[2000:]) + b"\1\2"
    reader = stream(packed, "gzip")
    assert reader.read(len(CONTENT)) == CONTENT
    assert reader.finish((5000,), 1) == "bytes after the voxels were ignored: 2"
    assert reader.trailing == 2


@given(place=st.integers(0, 3999), bit=st.integers(0, 7))
def test_a_flipped_bit_never_gives_other_bytes(place, bit):
    packed = bytearray(PACK["gzip"](CONTENT))
    packed[place] ^= 1 << bit
    with contextlib.suppress(InputError):
        assert read_all(bytes(packed), "gzip") == CONTENT


def test_a_bomb_is_stopped_at_the_limit():
    reader = stream(PACK["zlib"](bytes(10**7)), "zlib")
    with pytest.raises(InputError, match="holds more than the 100 bytes"):
        reader.drain(100)
