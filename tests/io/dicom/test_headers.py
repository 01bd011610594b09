import struct

import pydicom
import pytest

from ct_vae.io import scan_series
from tests.io._series import make_series, write_series
from tests.io.dicom._reading import check, refusal


@pytest.fixture
def folder(tmp_path):
    return write_series(tmp_path / "series", make_series())


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x00280030, b"one\\two "),
        (0x00200032, b"1\\2 "),
        (0x00200032, b"1\\2\\nan "),
        (0x00200037, b"1\\0\\0\\0\\1\\inf "),
        (0x00281053, b"1\\2 "),
        (0x00280008, b"two "),
    ],
)
def test_values_that_are_no_numbers_are_refused(folder, tag, value):
    path = sorted(folder.iterdir())[2]
    dataset = pydicom.dcmread(path)
    kind = "IS" if tag == 0x00280008 else "DS"
    raw = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), kind, len(value), value, 0, False, True
    )
    dataset[tag] = raw
    dataset.save_as(path)
    assert path.name in refusal(folder)


def test_odd_values_are_no_warnings(folder, recwarn, capfd):
    path = sorted(folder.iterdir())[2]
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        dataset.add_new(0x00080018, "UI", "1.2.03.x")
        dataset.add_new(0x00080020, "DA", "yesterday")
        dataset.add_new(0x00200013, "IS", "1.5")
        dataset.save_as(path)
    check(folder)
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_a_slice_cut_within_its_series_uid_is_no_series_of_its_own(tmp_path):
    """Cut at the end of the stack, the others would still be a volume."""
    slices = make_series()
    folder = write_series(tmp_path, slices, lambda k: f"{k}.dcm")
    path = folder / "7.dcm"
    content = path.read_bytes()
    uid = str(slices[7].SeriesInstanceUID).encode()
    path.write_bytes(content[: content.index(uid) + len(uid) - 2])
    text = refusal(folder)
    assert "file 7.dcm is truncated: it ends within its header" in text
    assert "may be missing" in text


@pytest.mark.parametrize("number", ["CT-3", "3.0", "", "x" * 12, "99999999999999999999"])
def test_a_series_number_that_is_none_helps_no_more_and_harms_nothing(tmp_path, number):
    raw = number.encode() + b" " * (len(number) % 2)
    element = b"\x20\x00\x11\x00IS"
    for path in write_series(tmp_path, make_series()).iterdir():
        old, new = element + b"\2\0" + b"3 ", element + struct.pack("<H", len(raw)) + raw
        assert path.read_bytes().count(old) == 1
        path.write_bytes(path.read_bytes().replace(old, new))
    volume = check(tmp_path)
    assert volume.warnings == ()
    (found,) = scan_series(tmp_path)
    assert found.number is None
    assert found.id.startswith("s000_")
