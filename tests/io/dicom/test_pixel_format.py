import pydicom
import pytest

from tests.io._dicom_checks import changed, quiet_refusal
from tests.io._series import make_series, write_series


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("RescaleSlope", 0, "RescaleSlope of 0"),
        ("RescaleType", "Z_EFF", "another unit than HU"),
        ("SamplesPerPixel", 3, "3 values per pixel"),
        ("BitsStored", 17, "17 of 16 bits"),
        ("BitsAllocated", 12, "of 12 bits"),
        ("HighBit", 14, "highest bit at 14"),
        ("PixelRepresentation", 2, "with PixelRepresentation 2"),
        ("Rows", 0, "0 rows"),
        ("Rows", 13, "declares 240 bytes of pixel data, but its size requires 260"),
        ("Rows", 11, "declares 240 bytes of pixel data, but its size requires 220"),
        ("Rows", 65535, "declares 240 bytes"),
        ("NumberOfFrames", 2, "has 2 frames, but is not an Enhanced"),
    ],
)
def test_pixels_that_cannot_be_right_are_refused(tmp_path, tag, value, message):
    write_series(tmp_path, changed(lambda k, dataset: setattr(dataset, tag, value)))
    assert message in quiet_refusal(tmp_path)


@pytest.mark.parametrize(
    "tag", ["Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelData"]
)
def test_a_slice_without_a_needed_tag_is_refused(tmp_path, tag):
    slices = make_series()
    delattr(slices[7], tag)
    write_series(tmp_path, slices)
    assert ("truncated" if tag == "PixelData" else f"lack {tag}") in quiet_refusal(tmp_path)


def test_a_table_instead_of_a_rescale_is_refused(tmp_path):
    def change(k, dataset):
        dataset.ModalityLUTSequence = [pydicom.Dataset()]

    write_series(tmp_path, changed(change))
    assert "by a lookup table, which is not supported" in quiet_refusal(tmp_path)
