import numpy as np
import pytest

from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._dicom_checks import quiet_refusal
from tests.io._series import (
    STEP_MM,
    assert_nothing_identifying,
    hounsfield,
    make_series,
    save,
    set_stored,
    told_by,
    write_series,
)

CONSENT = ReadOptions(resample_irregular=True, assume_hu=True, force=True)


def readable(folder):
    return [found for found in scan_series(folder) if found.verdict == "ok"]


@pytest.mark.parametrize("copies", [[3], [0], range(8), [2, 2, 2]])
def test_identical_duplicates_are_dropped_and_reported(tmp_path, copies):
    slices = make_series()
    write_series(tmp_path, slices)
    for i, k in enumerate(copies):
        slices[k].SOPInstanceUID += ".7"
        slices[k].InstanceNumber = 90 + k
        save(slices[k], tmp_path / f"again{i}")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert f"{len(list(copies))} exact duplicates of slices were ignored" in volume.warnings
    assert_nothing_identifying(told_by(volume))


def test_a_duplicate_stored_in_another_way_is_the_same(tmp_path):
    slices = make_series()
    write_series(tmp_path, slices)
    again = make_series()[4]
    again.RescaleIntercept = -1000
    set_stored(again, hounsfield()[:, :, 4].T + 1000)
    save(again, tmp_path / "again")
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())


@pytest.mark.parametrize(
    ("keyword", "value"), [("AcquisitionNumber", 2), ("ContentTime", "101112")]
)
def test_a_duplicate_of_another_phase_is_dropped(tmp_path, keyword, value):
    slices = make_series()
    write_series(tmp_path, slices)
    setattr(slices[3], keyword, value)
    save(slices[3], tmp_path / "again")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert "1 exact duplicates of slices were ignored" in volume.warnings


@pytest.mark.parametrize("which", [0, 3, 7])
def test_conflicting_duplicates_are_refused_with_their_place(tmp_path, which):
    write_series(tmp_path, make_series())
    other = make_series(seed=0)[which]
    changed = hounsfield()[:, :, which].T + 1024
    changed[5, 5] += 1
    set_stored(other, changed)
    save(other, tmp_path / "other")
    text = quiet_refusal(tmp_path, CONSENT)
    assert f"different pixels are at the same position: {100 + which * STEP_MM:.3f} mm" in text


def test_a_duplicate_with_other_padding_is_the_same(tmp_path):
    slices = make_series()
    stored = hounsfield()[:, :, 3].T + 1024
    stored[:2] = -2000
    for padding in (-2000, -3000):
        set_stored(slices[3], np.where(stored == -2000, padding, stored))
        slices[3].add_new("PixelPaddingValue", "SS", padding)
        save(slices[3], tmp_path / f"padded{padding}")
    write_series(tmp_path, [s for k, s in enumerate(slices) if k != 3])
    volume = read_volume(tmp_path)
    assert volume.grid.shape[2] == 8
    assert volume.outside_fov[:, :2, 3].all()
    np.testing.assert_array_equal(volume.voxels[:, 2:], hounsfield()[:, 2:])


def test_slices_nearer_than_rounding_are_at_one_place(tmp_path):
    """Consent to resampling is none to blending two slices of which one must be wrong."""
    write_series(tmp_path, make_series())
    other = make_series(seed=1)[3]
    other.ImagePositionPatient[2] += 0.02
    save(other, tmp_path / "other")
    assert "same position" in quiet_refusal(tmp_path, CONSENT)


def test_a_duplicate_displaced_in_its_plane_conflicts(tmp_path):
    slices = make_series()
    write_series(tmp_path, slices)
    slices[3].ImagePositionPatient[0] += 0.2
    save(slices[3], tmp_path / "other")
    assert "same position" in quiet_refusal(tmp_path, CONSENT)


@pytest.mark.parametrize(
    "keyword", ["AcquisitionNumber", "TemporalPositionIdentifier", "ContentTime"]
)
def test_complete_phases_are_volumes_of_their_own(tmp_path, keyword):
    values = ["101010", "101020"] if keyword == "ContentTime" else [1, 2]
    for seed, value in enumerate(values):
        slices = make_series(seed=seed)
        for dataset in slices:
            setattr(dataset, keyword, value)
        write_series(tmp_path, slices, lambda k, s=seed: f"{k}.{s}")
    assert "2 CT series" in quiet_refusal(tmp_path)
    found = readable(tmp_path)
    assert [each.number for each in found] == [3, 3]
    voxels = [each.read().voxels for each in found]
    for seed in (0, 1):
        assert any(np.array_equal(each, hounsfield(seed=seed)) for each in voxels)
    assert {each.id for each in readable(tmp_path)} == {each.id for each in found}


def test_phases_given_twice_are_read_once_each(tmp_path):
    for seed in (0, 1):
        slices = make_series(seed=seed)
        # A slice of nothing but air may be the same in both phases.
        set_stored(slices[0], np.zeros((12, 10)))
        for dataset in slices:
            dataset.AcquisitionNumber = seed
        write_series(tmp_path, slices, lambda k, s=seed: f"a{k}.{s}")
        write_series(tmp_path, slices, lambda k, s=seed: f"b{k}.{s}")
    assert [each.slices for each in readable(tmp_path)] == [8, 8]


def test_a_phase_with_a_gap_is_refused_and_the_whole_one_is_read(tmp_path):
    for seed in (0, 1):
        slices = make_series(seed=seed)
        for dataset in slices:
            dataset.AcquisitionNumber = seed
        if seed:
            del slices[5]
        write_series(tmp_path, slices, lambda k, s=seed: f"{k}.{s}")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    told = "was refused: an incomplete set of slices: it has 7 of the 8 positions of the others"
    assert volume.warnings[-1].endswith(told)
    assert sorted((e.slices, e.verdict) for e in scan_series(tmp_path)) == [
        (7, "refused"),
        (8, "ok"),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: setattr(s, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "orientation"),
        (lambda s: setattr(s, "ImageOrientationPatient", [1, 0, 0, 0, 0.9848, 0.1736]), "orient"),
        (lambda s: setattr(s, "PixelSpacing", [0.75, 0.51]), "pixel spacing"),
        (lambda s: setattr(s, "FrameOfReferenceUID", "1.2.77"), "frame of reference"),
        (lambda s: setattr(s, "StudyInstanceUID", "1.2.77"), "study"),
        (lambda s: (setattr(s, "Rows", 10), setattr(s, "Columns", 12)), "rows and columns"),
    ],
)
@pytest.mark.parametrize("which", [[0], [3, 4], range(4, 8)])
def test_slices_of_another_kind_are_split_off_only_as_whole_volumes(
    tmp_path, change, reason, which
):
    slices = make_series()
    for k in which:
        change(slices[k])
    write_series(tmp_path, slices)
    if len(list(which)) < 4:
        text = quiet_refusal(tmp_path, CONSENT)
        assert "do not belong together" in text
        assert reason in text
    else:
        assert [each.slices for each in scan_series(tmp_path)] == [4, 4]
        text = quiet_refusal(tmp_path, CONSENT)
        assert ("are at one position" if reason == "orientation" else "2 CT series") in text


def test_two_orientations_in_one_series_are_two_volumes(tmp_path):
    write_series(tmp_path, make_series(seed=0))
    coronal = make_series(seed=1, orientation=(1, 0, 0, 0, 0, -1))
    write_series(tmp_path, coronal, lambda k: f"c{k}")
    found = readable(tmp_path)
    assert [each.slices for each in found] == [8, 8]
    assert {each.read().grid.axcodes for each in found} == {"LPS", "LIP"}
    # Each has a name of its own.
    assert {read_volume(each.path).grid.axcodes for each in found} == {"LPS", "LIP"}


@pytest.mark.parametrize(("by", "alike"), [(1e-6, True), (3e-4, True), (1e-3, True), (2e-3, False)])
def test_rounding_of_directions_does_not_split_and_a_turn_does(tmp_path, by, alike):
    slices = make_series()
    slices[3].ImageOrientationPatient = [1, by, 0, -by, 1, 0]
    write_series(tmp_path, slices)
    if alike:
        np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())
    else:
        assert "groups of 7, 1 differ in orientation" in quiet_refusal(tmp_path, CONSENT)


def test_a_localizer_in_the_same_series_is_set_aside(tmp_path):
    slices = make_series()
    scout = make_series(1, sides=(20, 30), orientation=(0, 1, 0, 0, 0, -1))[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_series(tmp_path, [*slices, scout])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert "a localizer" in volume.warnings[0]


@pytest.mark.parametrize("which", [[7], [0, 3], range(8)])
def test_images_without_a_series_uid_are_taken_with_those_next_to_them(tmp_path, which):
    slices = make_series()
    for k in which:
        del slices[k].SeriesInstanceUID
    volume = read_volume(write_series(tmp_path, slices))
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    (told,) = volume.warnings
    assert told.startswith(f"{len(list(which))} of its 8 images lack a SeriesInstanceUID")


def test_images_without_a_series_uid_are_distinguished_by_folder_study_and_number(tmp_path):
    for k in range(4):
        slices = make_series(seed=k)
        for dataset in slices:
            del dataset.SeriesInstanceUID
            dataset.SeriesNumber = 1 + k % 2
            dataset.StudyInstanceUID = f"1.2.{k}"
        write_series(tmp_path / "ab"[k // 2], slices, lambda i, k=k: f"{k}_{i}")
    found = readable(tmp_path)
    assert [each.slices for each in found] == [8] * 4
    assert len({each.id for each in found}) == 4


def test_an_image_without_a_series_uid_next_to_two_series_is_of_none(tmp_path):
    for number in (1, 2):
        slices = make_series(seed=number)
        for dataset in slices:
            dataset.SeriesInstanceUID += f".{number}"
        write_series(tmp_path, slices, lambda k, n=number: f"{n}_{k}")
    lone = make_series(9)[8]
    del lone.SeriesInstanceUID
    save(lone, tmp_path / "lone")
    assert sorted((e.slices, e.verdict) for e in scan_series(tmp_path)) == [
        (1, "skipped"),
        (8, "ok"),
        (8, "ok"),
    ]
