"""Damaged files give the original voxels or an error, never other voxels."""

import logging
import struct
import tracemalloc
import warnings
import zlib
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io import ReadOptions, read_volume
from tests.io._samples import ct_voxels, gz, nifti_bytes

VOXELS = ct_voxels((9, 10, 11))
PLAIN = nifti_bytes(VOXELS)
PACKED = gz(PLAIN)
FORCE = ReadOptions(force=True)


@contextmanager
def limited_memory(mebibytes):
    """Fails if more than so many MiB were allocated in the block."""
    tracemalloc.start()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < mebibytes << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damage") / "a.nii.gz"


def read_or_none(path, content):
    """The volume, or nothing if a CtVaeError was raised; any other exception passes."""
    path.write_bytes(content)
    try:
        return read_volume(path, FORCE)
    except CtVaeError:
        return None


def flipped(content, position):
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def test_200_flipped_bits_in_a_real_file_never_give_other_voxels(real_data, place):
    content = (real_data / "nifti" / "spine_crop_pir.nii.gz").read_bytes()
    place.write_bytes(content)
    original = read_volume(place)
    rng = np.random.default_rng(20)
    caught = 0
    for position in rng.integers(0, len(content) * 8, 200):
        volume = read_or_none(place, flipped(content, int(position)))
        caught += volume is None
        if volume is not None:
            np.testing.assert_array_equal(volume.voxels, original.voxels)
            assert volume.grid == original.grid
    assert caught >= 190


def test_a_flipped_bit_anywhere_in_a_small_file_is_caught_or_harmless(place):
    trailer = range(len(PACKED) * 8 - 64, len(PACKED) * 8)
    for position in {*range(12 * 8), *range(0, len(PACKED) * 8, 29), *trailer}:
        volume = read_or_none(place, flipped(PACKED, position))
        if volume is not None:
            assert position not in trailer
            np.testing.assert_array_equal(volume.voxels, VOXELS)


@pytest.mark.parametrize("content", [PLAIN, PACKED], ids=["nii", "nii.gz"])
def test_every_truncation_is_refused(place, content):
    for length in {*range(0, len(content), 13), *range(len(content) - 30, len(content))}:
        place.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            read_volume(place)
        if length > 600 and content is PLAIN:
            assert f"{len(PLAIN)} bytes" in caught.value.cause
            assert str(length) in caught.value.cause


@pytest.mark.parametrize("tail", [b"\0", b"x", b"\0" * 1000, bytes(range(1, 256)) * 5])
def test_bytes_after_the_voxels_are_noted_unless_they_are_gzip_padding(place, tail):
    for content in (PLAIN + tail, gz(PLAIN + tail), PACKED + tail):
        place.write_bytes(content)
        volume = read_volume(place)
        np.testing.assert_array_equal(volume.voxels, VOXELS)
        padding = content == PACKED + tail and not tail.strip(b"\0")
        note = f"bytes after the voxels were ignored: {len(tail)}"
        assert volume.warnings == (() if padding else (note,))


@pytest.mark.parametrize("tail", [bytes(180), bytes(180 * 3), bytes(70_001)])
def test_whole_slices_or_much_after_the_voxels_are_another_image(place, tail):
    for content in (PLAIN + tail, gz(PLAIN + tail), PACKED + gz(tail)):
        place.write_bytes(content)
        with pytest.raises(InputError, match="more than the 2332 bytes"):
            read_volume(place)


@pytest.mark.parametrize(
    # Gzip headers hold the time, which may not be in the name of a test.
    "tail",
    [PACKED[:3] + b"no gzip at all", PACKED[:40], PACKED[:11]],
    ids=["magic", "body", "header"],
)
def test_garbage_that_begins_like_gzip_is_noted(place, tail):
    place.write_bytes(PACKED + tail)
    volume = read_volume(place)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert "ignored" in volume.warnings[0]


@given(tail=st.binary(min_size=1, max_size=60), cut=st.integers(1, 200), packed=st.booleans())
def test_garbage_never_makes_up_for_missing_voxels(place, tail, cut, packed):
    whole = PACKED if packed else PLAIN
    place.write_bytes(whole + tail)
    np.testing.assert_array_equal(read_volume(place).voxels, VOXELS)
    cut = min(cut, 8) if packed else max(cut, len(tail) + 1)
    volume = read_or_none(place, whole[:-cut] + tail)
    if packed and volume is not None:
        np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert packed or volume is None


def test_several_gzip_members_are_one_file(place):
    volume = read_or_none(place, gz(PLAIN[:700]) + gz(PLAIN[700:]))
    np.testing.assert_array_equal(volume.voxels, VOXELS)


def test_a_wrong_checksum_or_length_is_refused(place):
    for where in (-8, -4):
        broken = bytearray(PACKED)
        struct.pack_into("<I", broken, len(broken) + where, 12345)
        place.write_bytes(broken)
        with pytest.raises(InputError, match="damaged"):
            read_volume(place)


pieces = st.tuples(st.integers(0, len(PACKED)), st.integers(0, len(PACKED)))
damages = st.one_of(
    st.tuples(st.just("cut"), pieces, st.just(b"")),
    st.tuples(st.just("splice"), pieces, st.binary(max_size=20)),
    st.tuples(st.just("copy"), pieces, st.just(b"")),
    st.tuples(st.just("flip"), pieces, st.just(b"")),
)


@pytest.mark.parametrize("content", [PLAIN, PACKED], ids=["nii", "nii.gz"])
@given(changes=st.lists(damages, min_size=1, max_size=4))
def test_cut_spliced_and_flipped_bytes_give_the_original_or_an_error(place, content, changes):
    damaged = content
    for kind, (a, b), extra in changes:
        low, high = sorted((a, b))
        if kind == "flip":
            damaged = flipped(damaged, a % len(damaged) * 8 + b % 8) if damaged else damaged
        else:
            kept = damaged[low:high] if kind == "copy" else b""
            damaged = damaged[:low] + kept + extra + damaged[high if kind == "cut" else low :]
    volume = read_or_none(place, damaged)
    # Without a checksum, a plain file can only be judged by its length and header.
    if volume is not None and content is PACKED:
        np.testing.assert_array_equal(volume.voxels, VOXELS)


@given(
    changes=st.lists(st.tuples(st.integers(0, 355), st.integers(0, 255)), min_size=1, max_size=4),
    packed=st.booleans(),
)
def test_a_changed_header_gives_what_nibabel_reads_or_an_error(place, changes, packed):
    changed = bytearray(PLAIN)
    for position, value in changes:
        changed[position] = value
    volume = read_or_none(place, gz(bytes(changed)) if packed else bytes(changed))
    if volume is None:
        return
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = nib.Nifti1Image.from_bytes(bytes(changed))
        expected = oracle.get_fdata().reshape(volume.voxels.shape, order="F")
    if volume.outside_fov is not None:
        expected[volume.outside_fov] = -1024
    np.testing.assert_array_equal(volume.voxels, expected.astype(np.float32))
    np.testing.assert_array_equal(volume.grid.affine, oracle.affine)


@given(st.lists(st.tuples(st.integers(0, 539), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_changed_nifti2_header_raises_nothing_else(place, changes):
    changed = bytearray(nifti_bytes(VOXELS, cls=nib.Nifti2Image))
    for position, value in changes:
        changed[position] = value
    read_or_none(place, bytes(changed))


def test_a_header_that_declares_too_much_allocates_nothing(place):
    for dims in ([3, 32767, 32767, 2], [3, 1290, 1290, 1290], [7, 30000, 30000, 30000, 30000]):
        content = nifti_bytes(VOXELS, dim=dims + [1] * (8 - len(dims)))
        for packed in (False, True):
            place.write_bytes(gz(content) if packed else content)
            with limited_memory(4), pytest.raises(InputError, match=r"limit|truncated"):
                read_volume(place)


def test_a_bomb_behind_a_small_header_stops_at_the_declared_size(place):
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    member = engine.compress(bytes(16 << 20)) + engine.flush()
    place.write_bytes(PACKED + member * 256)
    with limited_memory(24), pytest.raises(InputError, match="more than the 2332 bytes"):
        read_volume(place)


def test_a_bomb_that_declares_its_size_is_read_only_as_far_as_it_goes(place):
    header = nifti_bytes(VOXELS, dim=[3, 1000, 1000, 900, 1, 1, 1, 1])
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    place.write_bytes(engine.compress(header + bytes(64 << 20)) + engine.flush())
    with limited_memory(24), pytest.raises(InputError, match="which decompress to"):
        read_volume(place)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("less", [1, 2])
def test_a_header_with_a_side_too_small_is_refused(place, axis, less):
    header = bytearray(PLAIN)
    (count,) = struct.unpack_from("<h", header, 42 + 2 * axis)
    struct.pack_into("<h", header, 42 + 2 * axis, count - less)
    for content in (bytes(header), gz(bytes(header))):
        place.write_bytes(content)
        with pytest.raises(InputError, match="more than the"):
            read_volume(place)
