import numpy as np
import pytest
import SimpleITK

from ct_vae.errors import InputError
from ct_vae.io import ReadOptions, read_volume
from tests.io.mha_nrrd._headers import META, NRRD, VALUES, header_of
from tests.io.mha_nrrd._itk import itk_voxels

FORCE = ReadOptions(force=True)


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
