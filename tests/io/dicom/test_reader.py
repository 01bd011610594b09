import shutil
import zipfile

import numpy as np
import pydicom
import pytest

from ct_vae.errors import InputError, NoInputError
from ct_vae.find_volumes.cases import discover
from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._dicom_checks import read_by_itk, refusal
from tests.io._series import (
    MARK,
    ORIGIN,
    SIDES,
    STEP_MM,
    assert_nothing_identifying,
    compress,
    hounsfield,
    lps_affine,
    make_series,
    save,
    told_by,
    write_series,
)


@pytest.fixture
def folder(tmp_path):
    return write_series(tmp_path / "series", make_series())


def test_a_series_has_its_values_and_its_place(folder):
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert volume.voxels.dtype == np.int16
    np.testing.assert_allclose(volume.grid.affine, lps_affine(), atol=1e-9)
    assert volume.warnings == ()
    assert volume.source["format"] == "dicom"
    assert_nothing_identifying(told_by(volume))


def test_a_list_of_files_is_one_series(folder):
    (found,) = scan_series(sorted(folder.iterdir()))
    assert (found.id[:5], found.modality, found.slices) == ("s003_", "CT", 8)
    assert found.size == (10, 12, 8)
    assert found.spacing_mm == pytest.approx((0.5, 0.75, STEP_MM))
    assert set(found.files) == set(folder.iterdir())
    np.testing.assert_array_equal(found.read().voxels, hounsfield())


def test_an_archive_is_read_as_its_folder_and_leaves_nothing(folder, tmp_path, monkeypatch):
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    for form in ("zip", "tar", "gztar", "xztar", "bztar"):
        archive = shutil.make_archive(str(tmp_path / f"a {form}"), form, folder)
        volume = read_volume(archive)
        np.testing.assert_array_equal(volume.voxels, hounsfield())
        (found,) = scan_series(archive)
        np.testing.assert_array_equal(found.read().voxels, hounsfield())
        np.testing.assert_array_equal(read_volume(found.path).voxels, hounsfield())
        assert str(temp) not in told_by(volume)
        assert not list(temp.iterdir())


def test_an_archive_with_a_bad_series_names_the_archive_only(tmp_path, monkeypatch):
    slices = make_series()
    del slices[3]
    write_series(tmp_path / "in", slices)
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "in")
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    text = refusal(archive)
    assert text.startswith(f"{archive}: a slice is missing")
    assert str(temp) not in text
    assert not list(temp.iterdir())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_slices_are_read_when_named_and_skipped_when_searched(tmp_path, count):
    folder = write_series(tmp_path / "deep" / "few", make_series(count))
    (found,) = scan_series(tmp_path)
    few = f"only {count} slice{'s' if count > 1 else ''}, a volume has at least 4"
    assert (found.verdict, found.reason) == ("skipped", f"{few}; it is read if its path is given")
    with pytest.raises(NoInputError, match=few):
        discover([tmp_path])
    (case,) = discover([folder])
    for volume in (read_volume(folder), read_volume(found.path), found.read(), case.read()):
        np.testing.assert_array_equal(volume.voxels, hounsfield(count))
        step = 7.0 if count == 1 else STEP_MM
        assert volume.grid.spacing_mm == pytest.approx((0.5, 0.75, step))
        (told,) = volume.warnings
        assert told in {
            f"has only {count} slices",
            "is one slice; its thickness of 7 mm is the spacing",
        }


def test_few_slices_next_to_a_volume_are_skipped_wherever_they_are(folder):
    few = make_series(2)
    for dataset in few:
        dataset.SeriesInstanceUID += ".2"
    write_series(folder, few, lambda k: f"few{k}")
    assert read_volume(folder).grid.shape[2] == 8
    assert len(discover([folder])) == 1


def test_two_series_of_few_slices_are_not_chosen_from(tmp_path):
    for number in (1, 2):
        few = make_series(3)
        for dataset in few:
            dataset.SeriesInstanceUID += f".{number}"
        write_series(tmp_path / "a", few, lambda k, n=number: f"{n}_{k}")
    with pytest.raises(NoInputError, match="only 3 slices"):
        read_volume(tmp_path / "a")
    with pytest.raises(NoInputError, match="only 3 slices"):
        discover([tmp_path / "a"])


def test_one_slice_of_many_is_read_where_its_file_is_named(folder):
    volume = read_volume(folder / "003")
    np.testing.assert_array_equal(volume.voxels, hounsfield()[:, :, :1])


def test_one_slice_without_thickness_has_no_height(tmp_path):
    (dataset,) = make_series(1)
    del dataset.SliceThickness
    text = refusal(write_series(tmp_path, [dataset]))
    assert "without SliceThickness" in text
    assert "give the folder of its series" in text


def test_slices_that_are_named_together_are_one_case(folder, tmp_path):
    other = write_series(tmp_path / "other", make_series(1, seed=5))
    (dataset,) = make_series(1, seed=5)
    dataset.SeriesInstanceUID += ".5"
    lone = save(dataset, other / "lone")
    cases = discover([*sorted(folder.iterdir()), lone])
    assert [case.key.rsplit("_", 1)[0] for case in cases] == ["series_s003", "lone"]
    np.testing.assert_array_equal(cases[0].read().voxels, hounsfield())


def test_inputs_are_never_modified(folder):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    read_volume(folder)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_a_folder_without_dicom_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    assert "without DICOM" in refusal(tmp_path)
    assert scan_series(tmp_path) == []
    with pytest.raises(NoInputError):
        scan_series(tmp_path / "missing")


def test_discover_gives_one_case_per_series(tmp_path):
    write_series(tmp_path / "p1" / "CT", make_series(seed=1))
    bad = make_series(seed=2)
    for dataset in bad:
        dataset.SeriesInstanceUID += ".2"
        dataset.SeriesNumber = 9
    del bad[4]
    write_series(tmp_path / "p1" / "CT bad", bad)
    lone = make_series(1)[0]
    lone.SeriesInstanceUID += ".3"
    save(lone, tmp_path / "p1" / "lone")
    told = []
    cases = discover([tmp_path], report=told.append)
    assert [case.key.rsplit("_", 1)[0] for case in cases] == ["p1/CT_s003", "p1/CT bad_s009"]
    good, refused = cases
    np.testing.assert_array_equal(good.read().voxels, hounsfield(seed=1))
    np.testing.assert_array_equal(read_volume(good.path).voxels, hounsfield(seed=1))
    for read in (refused.read, lambda: read_volume(refused.path)):
        with pytest.raises(InputError, match="a slice is missing"):
            read()
    assert len(told) == 1
    assert "only 1 slice" in told[0]
    assert [case.key for case in discover([good.path])] == ["CT_" + good.path.name[1:]]
    assert discover([tmp_path]) == cases


def test_discover_looks_into_archives_that_are_named(tmp_path):
    for number in (1, 2):
        slices = make_series(seed=number)
        for dataset in slices:
            dataset.SeriesInstanceUID += f".{number}"
            dataset.SeriesNumber = number
        write_series(tmp_path / "in" / str(number), slices)
    archive = shutil.make_archive(str(tmp_path / "zips" / "both"), "zip", tmp_path / "in")
    for cases in (discover([archive]), discover([tmp_path / "zips" / "*.zip"])):
        assert [case.key[:9] for case in cases] == ["both_s001", "both_s002"]
        for number, case in enumerate(cases, 1):
            np.testing.assert_array_equal(case.read().voxels, hounsfield(seed=number))
    with pytest.raises(NoInputError):
        discover([tmp_path / "zips"])
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        bad.writestr("../x", b"x")
    (case,) = discover([tmp_path / "bad.zip"])
    with pytest.raises(InputError, match="leads out"):
        case.read()


def test_an_oblique_series_is_placed_as_itk_and_monai_place_it(tmp_path):
    turn, tip = np.deg2rad(31), np.deg2rad(-14)
    row = np.array([np.cos(turn), np.sin(turn), 0])
    column = np.cos(tip) * np.array([-np.sin(turn), np.cos(turn), 0]) + np.sin(tip) * np.array(
        [0, 0, 1.0]
    )
    orientation = [round(float(x), 9) for x in (*row, *column)]
    folder = write_series(tmp_path / "oblique", make_series(orientation=orientation))
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    np.testing.assert_allclose(volume.grid.affine, lps_affine(orientation), atol=1e-6)
    voxels, grid = read_by_itk(folder)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.grid.distance_mm(grid) < 1e-5


def test_a_canary_in_every_tag_and_folder_comes_out_nowhere(tmp_path):
    place = tmp_path / "given"
    slices = make_series()
    write_series(place / f"{MARK}^Jane" / "19391107", slices)
    volume = read_volume(place)
    assert_nothing_identifying(told_by(volume))
    del slices[3]
    shutil.rmtree(place)
    write_series(place / f"{MARK}^Jane" / "19391107", slices)
    assert_nothing_identifying(refusal(place))
    (found,) = scan_series(place)
    assert_nothing_identifying(found.reason + found.label + found.id)
    slices[2].Modality = f"{MARK} 1"
    write_series(place / f"{MARK}^Jane" / "19391107", slices)
    assert_nothing_identifying(" ".join(each.reason for each in scan_series(place)))


def test_rle_by_pydicom_gives_the_same(tmp_path):
    from pydicom.pixels.encoders import RLELosslessEncoder

    slices = [
        compress(s, "1.2.840.10008.1.2.5", lambda d: RLELosslessEncoder.encode(d, index=0))
        for s in make_series()
    ]
    folder = write_series(tmp_path / "rle", slices)
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield())
    assert pydicom.dcmread(folder / "003").pixel_array.shape == SIDES


def test_a_series_has_one_time_point(folder):
    assert "frame 1 was requested" in refusal(folder, ReadOptions(frame=1))
    np.testing.assert_array_equal(read_volume(folder, ReadOptions(frame=0)).voxels, hounsfield())


def test_positions_are_those_of_the_slices(folder):
    volume = read_volume(folder)
    first = volume.grid.to_world([0, 0, 0])
    np.testing.assert_allclose(first, [-ORIGIN[0], -ORIGIN[1], ORIGIN[2]])
