import struct
import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError
from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, read_volume, write_volume
from tests.io._samples import AFFINE, ct_volume, ct_voxels
from tests.io.mha_nrrd._headers import META, NRRD, VALUES, header_of
from tests.io.mha_nrrd._itk import itk_grid, itk_image, itk_voxels

SUFFIXES = ["mha", "nrrd"]
FORCE = ReadOptions(force=True)
KINDS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("itk")


def read_or_none(path, content):
    path.write_bytes(content)
    try:
        return read_volume(path, FORCE)
    except CtVaeError:
        return None


def split(content):
    """Header and data of either format."""
    mark = b"ElementDataFile = LOCAL\n" if content.startswith(b"Obj") else b"\n\n"
    end = content.index(mark) + len(mark)
    return content[:end], content[end:]


def test_the_real_file_is_read_as_itk_reads_it(real_data):
    path = real_data / "nifti" / "lung_crop.mha"
    volume, oracle = read_volume(path), SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(volume.voxels, itk_voxels(oracle))
    assert volume.grid == itk_grid(oracle)
    assert volume.source["format"] == "metaimage"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_that_itk_writes_is_read(tmp_path, suffix, compressed, kind):
    voxels = np.abs(ct_voxels()).astype(kind)
    path = tmp_path / f"a.{suffix}"
    SimpleITK.WriteImage(itk_image(voxels), str(path), compressed)
    volume = read_volume(path, FORCE)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype == np.int16
    assert volume.grid.distance_mm(Grid(voxels.shape, AFFINE)) < 1e-12
    assert volume.source["dtype"] == kind


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_data_are_refused_and_surplus_bytes_noted(tmp_path, capfd, suffix, compressed):
    path = tmp_path / f"a.{suffix}"
    SimpleITK.WriteImage(itk_image(ct_voxels()), str(path), compressed)
    content = path.read_bytes()
    for length in {*range(0, len(content), 17), *range(len(content) - 20, len(content))}:
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            read_volume(path)
    path.write_bytes(content + b"x")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, ct_voxels())
    assert volume.warnings == ("bytes after the voxels were ignored: 1",)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_bit_of_compressed_data_never_gives_other_voxels(place, suffix):
    path = place / f"flip.{suffix}"
    write_volume(ct_volume(), path)
    header, data = split(path.read_bytes())
    for position in range(0, len(data) * 8, 13):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        volume = read_or_none(path, header + changed)
        if volume is not None:
            np.testing.assert_array_equal(volume.voxels, ct_voxels())


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(st.data())
def test_damaged_headers_and_data_raise_nothing_else(place, suffix, data):
    path = place / f"damage.{suffix}"
    write_volume(ct_volume(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 40)))
        content[start:stop] = data.draw(st.binary(max_size=8))
    read_or_none(path, bytes(content))


@pytest.mark.parametrize("base", [META, NRRD])
def test_big_endian_data_are_read(tmp_path, base):
    big = {"BinaryDataByteOrderMSB": "True"} if base is META else {"endian": "big"}
    path = tmp_path / ("a.mha" if base is META else "a.nrrd")
    path.write_bytes(header_of(big, base) + VALUES.astype(">i2").tobytes())
    np.testing.assert_array_equal(read_volume(path).voxels.ravel(order="F"), VALUES)


def test_the_name_does_not_decide_what_a_file_is(tmp_path):
    for suffix in SUFFIXES:
        write_volume(ct_volume(), tmp_path / f"a.{suffix}")
        other = tmp_path / f"{suffix} named otherwise.nii"
        (tmp_path / f"a.{suffix}").rename(other)
        np.testing.assert_array_equal(read_volume(other).voxels, ct_voxels())


@pytest.mark.parametrize("wbits", [15, 31], ids=["zlib", "gzip"])
def test_compressed_data_of_undeclared_size_must_end_with_their_checksum(tmp_path, wbits):
    path = tmp_path / "a.mha"
    engine = zlib.compressobj(wbits=wbits)
    data = engine.compress(VALUES.tobytes()) + engine.flush()
    header = header_of({"CompressedData": "True"}, META)
    path.write_bytes(header + data)
    np.testing.assert_array_equal(read_volume(path).voxels.ravel(order="F"), VALUES)
    for tail in (b"x", data):
        path.write_bytes(header + data + tail)
        assert read_volume(path).warnings == (f"bytes after the voxels were ignored: {len(tail)}",)
    sizes = [len(data) - 1, len(data) + 1]
    declaring = [
        header_of({"CompressedData": "True", "CompressedDataSize": str(size)}, META)
        for size in sizes
    ]
    for wrong_header in declaring:
        path.write_bytes(wrong_header + data)
        with pytest.raises(InputError, match="bytes of compressed data"):
            read_volume(path)
    for wrong in (data[:-1], data[:-4], data[:-4] + b"\1\2\3\4"):
        path.write_bytes(header + wrong)
        with pytest.raises(InputError, match=r"truncated|damaged|more than"):
            read_volume(path)


def test_one_time_point_is_all_there_is(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.mha")
    assert read_volume(tmp_path / "a.mha", ReadOptions(frame=0)).grid.shape == (6, 7, 8)
    with pytest.raises(InputError, match="frame 2"):
        read_volume(tmp_path / "a.mha", ReadOptions(frame=2))


def test_a_small_file_that_declares_much_allocates_nothing(tmp_path):
    path = tmp_path / "a.mha"
    header = header_of({"DimSize": "1200 1200 1200", "CompressedData": "True"}, META)
    path.write_bytes(header + struct.pack("<100x"))
    with pytest.raises(InputError, match="decompress to at most"):
        read_volume(path)
