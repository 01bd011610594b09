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
from ct_vae.volume import Volume
from tests._strategies import ALL_AXCODES, grids
from tests.io._samples import AFFINE, ct_volume, ct_voxels

SUFFIXES = ["mha", "nrrd"]
FORCE = ReadOptions(force=True)
KINDS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def itk_grid(image):
    return Grid.from_lps(
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )


def itk_image(voxels, affine=AFFINE):
    image = SimpleITK.GetImageFromArray(voxels.transpose())
    spacing, origin, direction = Grid(voxels.shape, affine).to_lps()
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def itk_voxels(image):
    return SimpleITK.GetArrayFromImage(image).transpose()


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
@pytest.mark.parametrize("axcodes", ALL_AXCODES)
def test_every_orientation_is_written_and_read_identically(place, suffix, axcodes):
    grid = Grid((5, 7, 9), AFFINE).reorient(axcodes)
    volume = Volume(ct_voxels(grid.shape), grid)
    path = place / f"turned.{suffix}"
    write_volume(volume, path)
    again = read_volume(path)
    assert again.grid == grid
    np.testing.assert_array_equal(again.voxels, volume.voxels)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(grid=grids(shear=9e-3))
def test_itk_reads_what_was_written_at_the_same_place(place, suffix, grid):
    path = place / f"any.{suffix}"
    voxels = np.arange(np.prod(grid.shape)).reshape(grid.shape).astype(np.int16)
    write_volume(Volume(voxels, grid), path)
    oracle = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(itk_voxels(oracle), voxels)
    assert itk_grid(oracle).distance_mm(grid) < 1e-9
    assert read_volume(path, FORCE).grid.distance_mm(grid) < 1e-9


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_volume_gives_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        write_volume(ct_volume(), tmp_path / f"{name}.{suffix}")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


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


META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "DimSize": "2 3 4",
    "ElementSpacing": "1 1 1",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}
VALUES = np.arange(-12, 12, dtype=np.int16) * 50


def header_of(changes, base):
    changed = {key: value for key, value in (base | changes).items() if value is not None}
    if base is META:
        changed["ElementDataFile"] = changed.pop("ElementDataFile", "LOCAL")
        return "".join(f"{key} = {value}\n" for key, value in changed.items()).encode()
    return b"NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in changed.items()).encode() + b"\n"


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (META, {"DimSize": "2 3 5"}, "declares 60 bytes, but the file has 48"),
        (META, {"DimSize": "2 3 3"}, "more than the 36 bytes"),
        (META, {"DimSize": "0 3 4"}, "must be positive"),
        (META, {"DimSize": "2048 2048 513"}, "2^31"),
        (META, {"DimSize": "2 3 x"}, "as a size"),
        (META, {"NDims": "2", "DimSize": "6 4"}, "2 dimensions"),
        (META, {"NDims": "4", "DimSize": "2 3 4 1"}, "4 dimensions"),
        (META, {"ElementNumberOfChannels": "3"}, "several components"),
        (META, {"ElementType": "MET_STRING"}, "MET_STRING"),
        (META, {"BinaryData": "False"}, "as text"),
        (META, {"BinaryDataByteOrderMSB": "Maybe"}, "Maybe"),
        (META, {"HeaderSize": "17"}, "HeaderSize 17"),
        (META, {"ElementDataFile": "../secret.raw"}, "is outside the folder"),
        (META, {"ElementDataFile": "LIST"}, "several files"),
        (META, {"CompressedData": "True", "CompressedDataSize": "49"}, "declares 49 bytes"),
        (META, {"TransformMatrix": "1 0 0 0 1 0 0 1 0"}, "singular"),
        (META, {"TransformMatrix": "1 0 0 0.05 1 0 0 0 1"}, "sheared"),
        (NRRD, {"sizes": "2 3 5"}, "declares 60 bytes, but the file has 48"),
        (NRRD, {"dimension": "4", "sizes": "1 2 3 4"}, "4 dimensions"),
        (NRRD, {"type": "long double"}, "long double"),
        (NRRD, {"type": "block", "block size": "2"}, "block"),
        (NRRD, {"encoding": "ascii"}, "ascii"),
        (NRRD, {"endian": "middle"}, "middle"),
        (NRRD, {"byte skip": "-2"}, "byte skip -2"),
        (NRRD, {"byte skip": "-1", "encoding": "gzip"}, "byte skip -1"),
        (NRRD, {"line skip": "-1"}, "line skip -1"),
        (NRRD, {"line skip": "9999999999"}, "9999999999 lines"),
        (NRRD, {"data file": "gone.raw"}, "'gone.raw' is missing"),
        (NRRD, {"space units": '"m" "m" "m"'}, "export it in mm"),
        (NRRD, {"units": '"cm" "cm" "cm"'}, "export it in mm"),
        (NRRD, {"space directions": "(1e-3,0,0) (0,1e-3,0) (0,0,2e-3)"}, "multiply its affine by"),
        (META, {"ElementSpacing": "1 1 51"}, "0.02 to 50 mm"),
        (NRRD, {"space": None}, "--assume-ras"),
        (NRRD, {"space": "scanner-xyz"}, "--assume-ras"),
        (NRRD, {"space directions": "(1,0,0) (1,0,0) (0,0,1)"}, "singular"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(tmp_path, capfd, base, changes, message):
    path = tmp_path / ("a.mha" if base is META else "a.nrrd")
    (tmp_path / "secret.raw").write_bytes(VALUES.tobytes())
    path.write_bytes(header_of(changes, base) + VALUES.tobytes())
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert message in str(caught.value)
    assert str(path) in caught.value.cause
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("base", [META, NRRD])
def test_big_endian_data_are_read(tmp_path, base):
    big = {"BinaryDataByteOrderMSB": "True"} if base is META else {"endian": "big"}
    path = tmp_path / ("a.mha" if base is META else "a.nrrd")
    path.write_bytes(header_of(big, base) + VALUES.astype(">i2").tobytes())
    np.testing.assert_array_equal(read_volume(path).voxels.ravel(order="F"), VALUES)


NRRD_TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}


@pytest.mark.parametrize("kind", NRRD_TYPES)
def test_every_name_of_a_type_is_read_as_itk_reads_it(tmp_path, kind):
    path = tmp_path / "a.nrrd"
    values = (np.arange(24) * 5).astype(kind)
    for name in NRRD_TYPES[kind].split("|"):
        path.write_bytes(header_of({"type": name}, NRRD) + values.tobytes())
        voxels = read_volume(path, FORCE).voxels
        np.testing.assert_array_equal(voxels, itk_voxels(SimpleITK.ReadImage(str(path))))
        np.testing.assert_array_equal(voxels.ravel(order="F"), values)


@pytest.mark.parametrize(
    "unit", ["mm", "MM", "millimeter", "millimeters", "Millimetre", "", "none"]
)
def test_names_of_millimeters_are_read(tmp_path, unit):
    path = tmp_path / "a.nrrd"
    units = " ".join([f'"{unit}"'] * 3)
    unplaced = {"space": None, "space directions": None, "space origin": None, "spacings": "1 1 1"}
    for fields in ({"space units": units}, unplaced | {"units": units}):
        path.write_bytes(header_of(fields, NRRD) + VALUES.tobytes())
        volume = read_volume(path, ReadOptions(assume_ras=True))
        np.testing.assert_array_equal(volume.voxels.ravel(order="F"), VALUES)


def test_foreign_lines_in_a_header_are_passed_over(tmp_path):
    path = tmp_path / "a.mha"
    foreign = {"0010|0010": "Jörg " + "x" * 3000}
    path.write_bytes(header_of(foreign, META).decode().encode("latin1") + VALUES.tobytes())
    np.testing.assert_array_equal(read_volume(path).voxels.ravel(order="F"), VALUES)


def test_assumed_axes_of_an_nrrd_use_its_spacing(tmp_path):
    path = tmp_path / "a.nrrd"
    plain = {"space": None, "space directions": None, "space origin": None, "spacings": "1 2 3"}
    path.write_bytes(header_of(plain, NRRD) + VALUES.tobytes())
    volume = read_volume(path, ReadOptions(assume_ras=True))
    np.testing.assert_array_equal(volume.grid.affine, np.diag([1, 2, 3, 1]))
    assert any("assumed" in warning for warning in volume.warnings)


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
