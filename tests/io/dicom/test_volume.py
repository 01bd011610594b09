import numpy as np
import pytest

from ct_vae.io import ReadOptions, read_volume
from tests.io._dicom_checks import changed, plane, quiet_refusal
from tests.io._series import hounsfield, make_series, set_stored, write_series


@pytest.mark.parametrize("which", [[2], range(8)])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_missing_rescale_needs_consent(tmp_path, which, keyword):
    slices = make_series()
    for k in which:
        delattr(slices[k], keyword)
    write_series(tmp_path, slices)
    text = quiet_refusal(tmp_path)
    assert f"{len(list(which))} of 8 slices lack" in text
    assert "--assume-hu" in text


def test_with_consent_stored_numbers_are_hounsfield(tmp_path):
    def change(k, dataset):
        del dataset.RescaleSlope
        del dataset.RescaleIntercept
        set_stored(dataset, plane(k))

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path, ReadOptions(assume_hu=True))
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert "stored values were read as HU" in volume.warnings[0]


@pytest.mark.parametrize("end", [1, 17, 200])
@pytest.mark.parametrize("which", [0, 3, 7])
def test_a_truncated_slice_is_named_by_its_place(tmp_path, which, end):
    write_series(tmp_path, make_series(), str)
    path = tmp_path / str(which)
    path.write_bytes(path.read_bytes()[:-end])
    text = quiet_refusal(tmp_path)
    assert f"slice {which + 1} of 8, at {100 + 2.5 * which:.3f} mm" in text
    assert f"is truncated: it has {240 - end} of 240 bytes" in text


def test_lost_rescale_is_recognized(tmp_path):
    write_series(tmp_path, changed(lambda k, dataset: setattr(dataset, "RescaleIntercept", 0)))
    assert "--hu-offset -1024" in quiet_refusal(tmp_path)
    volume = read_volume(tmp_path, ReadOptions(hu_offset=-1024))
    np.testing.assert_array_equal(volume.voxels, hounsfield())
