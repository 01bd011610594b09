import numpy as np
import pytest

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._dicom_checks import quiet_refusal
from tests.io._series import hounsfield, make_series, save, write_series

CONSENT = ReadOptions(resample_irregular=True, assume_hu=True, force=True)


@pytest.mark.parametrize(
    ("modality", "sop_class", "kind", "reason"),
    [
        ("OT", "1.2.840.10008.5.1.4.1.1.7", "AXIAL", "modality OT"),
        ("SR", "1.2.840.10008.5.1.4.1.1.88.67", "", "dose report"),
        ("SEG", "1.2.840.10008.5.1.4.1.1.66.4", "", "a segmentation"),
        ("PT", "1.2.840.10008.5.1.4.1.1.128", "", "modality PT"),
        ("CT", "1.2.840.10008.5.1.4.1.1.2", "SCREEN SAVE", "a screen capture"),
        ("CT", "1.2.840.10008.5.1.4.1.1.2", "DOSE_INFO", "dose report"),
    ],
)
def test_what_is_no_ct_volume_is_skipped_with_its_reason(
    tmp_path, modality, sop_class, kind, reason
):
    slices = make_series()
    for dataset in slices:
        dataset.Modality, dataset.SOPClassUID = modality, sop_class
        dataset.ImageType = ["DERIVED", "SECONDARY", kind]
    write_series(tmp_path, slices)
    (found,) = scan_series(tmp_path)
    assert found.verdict == "skipped"
    assert reason in found.reason
    with pytest.raises(CtVaeError, match="is not a CT volume"):
        found.read()


def test_a_report_without_pixels_is_skipped(tmp_path):
    write_series(tmp_path, make_series())
    report = make_series(1)[0]
    for tag in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "BitsAllocated"):
        delattr(report, tag)
    report.Modality, report.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.22"
    report.SeriesInstanceUID += ".8"
    save(report, tmp_path / "report")
    assert "structured report" in read_volume(tmp_path).warnings[0]


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.7", "a secondary capture, not a CT image"),
        ("1.2.840.10008.5.1.4.1.1.7.3", "a secondary capture, not a CT image"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "not a CT image by its SOP class"),
    ],
)
def test_another_sop_class_with_the_geometry_of_a_volume_has_its_own_consent(
    tmp_path, sop_class, reason
):
    slices = make_series()
    for dataset in slices:
        dataset.SOPClassUID = sop_class
    write_series(tmp_path, slices)
    for options in (None, CONSENT):
        text = quiet_refusal(tmp_path, options)
        assert reason in text
        assert "--any-sop-class" in text
    volume = read_volume(tmp_path, ReadOptions(any_sop_class=True))
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert volume.warnings == (f"its images are {reason}, and were read as CT images",)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: delattr(s, "PixelSpacing"),
        lambda s: delattr(s, "ImagePositionPatient"),
        lambda s: setattr(s, "ImagePositionPatient", [0, 0, 0]),
        lambda s: setattr(s, "SamplesPerPixel", 3),
        lambda s: setattr(s, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        lambda s: setattr(s, "NumberOfFrames", 2),
    ],
)
def test_another_sop_class_without_that_geometry_is_skipped(tmp_path, change):
    slices = make_series()
    for dataset in slices:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        change(dataset)
    (found,) = scan_series(write_series(tmp_path, slices), ReadOptions(any_sop_class=True))
    assert (found.verdict, found.reason) == ("skipped", "a secondary capture, not a CT image")
