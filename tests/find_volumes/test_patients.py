import re
from pathlib import PurePath

import pytest

from ct_vae.find_volumes.patients import (
    digest,
    key_of_path,
    listed_key,
    patient_digest,
    patient_in_path,
)
from ct_vae.io.dicom.scan import scan_series
from tests.io._series import MARK, make_series, write_series


def digest_of(folder, slices, below="series", pattern=None):
    (series,) = scan_series(write_series(folder, slices))
    return patient_digest(folder, PurePath(below), series, pattern)


def of_path(below, pattern=None):
    return patient_digest(PurePath("in") / below, PurePath(below), None, pattern)


@pytest.mark.parametrize(
    ("below", "key"),
    [
        ("s0001/ct.nii.gz", "s0001"),
        ("a/b/c/d.nii", "a"),
        ("patient_1_left/x.nii", "patient_1_left"),
        ("case_001_0000.nii.gz", "case_001"),
        ("patient7-scan2.nii", "patient7"),
        ("00012.mha", "00012"),
        ("LIDC-IDRI-0001.nii.gz", "LIDC-IDRI-0001"),
        ("lung_crop.mha", "lung_crop"),
        ("lung.left.nrrd", "lung"),
        (".nii", ".nii"),
    ],
)
def test_the_key_of_a_file_is_its_topmost_folder_or_its_name_to_the_first_number(below, key):
    assert key_of_path(PurePath(below)) == key


def test_a_series_is_known_by_its_patient_wherever_it_is(tmp_path):
    first = digest_of(tmp_path / "a", make_series(), "a/series")
    other = make_series(seed=5)
    for each in other:
        each.StudyInstanceUID, each.SeriesInstanceUID = "1.2.3", "1.2.4"
    assert digest_of(tmp_path / "b", other, "b/series") == first
    for each in other:
        each.PatientID = "somebody else"
    assert digest_of(tmp_path / "c", other, "a/series") != first


def test_spaces_around_a_patient_id_do_not_matter(tmp_path):
    first = digest_of(tmp_path / "a", make_series())
    padded = make_series()
    for each in padded:
        each.PatientID = f" {MARK}1 "
    assert digest_of(tmp_path / "b", padded) == first


@pytest.mark.parametrize("empty", [True, False])
def test_without_a_patient_the_study_tells(tmp_path, empty):
    def nameless(study):
        slices = make_series()
        for each in slices:
            each.StudyInstanceUID = study
            if empty:
                each.PatientID = " "
            else:
                del each.PatientID
        return slices

    first = digest_of(tmp_path / "a", nameless("1.2.3"), "a/series")
    assert digest_of(tmp_path / "b", nameless("1.2.3"), "b/series") == first
    assert digest_of(tmp_path / "c", nameless("1.2.4"), "a/series") != first


def test_without_either_the_path_tells(tmp_path):
    def nameless():
        slices = make_series()
        for each in slices:
            del each.PatientID, each.StudyInstanceUID
        return slices

    first = digest_of(tmp_path / "a", nameless(), "a/series")
    assert first == of_path("a/x.nii")
    assert digest_of(tmp_path / "b", nameless(), "b/series") != first


def test_a_patient_is_the_same_in_dicom_and_in_a_folder_of_that_name(tmp_path):
    assert digest_of(tmp_path / "a", make_series()) == of_path(f"{MARK}1/x.nii")


def test_a_series_keeps_its_patient_when_its_files_go_away(tmp_path):
    (series,) = scan_series(write_series(tmp_path / "a", make_series()))
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    found = patient_digest(tmp_path, PurePath("series"), series)
    assert found == of_path(f"{MARK}1/x.nii")


def test_a_pattern_takes_its_first_group_or_all_that_it_matches(tmp_path):
    whole, group = re.compile(r"case\d+"), re.compile(r"(case\d+)_(\d)")
    assert of_path("x/case12_3.nii", whole) == of_path("y/case12_4.nii", group)
    assert of_path("x/case12_3.nii", whole) != of_path("x/case13_3.nii", whole)
    assert of_path("x/case12_3.nii", re.compile("^in/")) != ""
    for pattern in ("nothing", "()x", "(y)?x"):
        assert of_path("x/other.nii", re.compile(pattern)) == ""
    folder = tmp_path / "case12"
    assert digest_of(folder, make_series(), pattern=whole) == of_path("case12.nii", whole)


def test_a_digest_shows_nothing(tmp_path):
    found = digest_of(tmp_path / "a", make_series())
    assert re.fullmatch("[0-9a-f]{64}", found)
    assert of_path("d\udcff/x.nii") != of_path("d/x.nii")


@pytest.mark.parametrize(
    ("path", "patient"),
    [
        ("sub-01/ses-1/sub-01_ct.nii.gz", "sub-01"),
        ("site/sub-A7_ct.nii.gz", "sub-A7"),
        ("sub-9.nii.gz", "sub-9"),
        ("subject-01/ct.nii.gz", None),
        ("mysub-01.nii.gz", None),
        ("sub-/ct.nii.gz", None),
        ("ct.nii.gz", None),
    ],
)
def test_bids_names_subjects(path, patient):
    assert patient_in_path(path, None) == patient


def test_a_pattern_gives_its_first_group_or_all_that_it_matches():
    assert patient_in_path("a/LIDC-0012/3.nii", r"LIDC-(\d+)") == "0012"
    assert patient_in_path("a/LIDC-0012/3.nii", r"LIDC-\d+") == "LIDC-0012"
    assert patient_in_path("sub-01/ct.nii", r"LIDC-\d+") is None
    assert patient_in_path("a.nii", r"(x)?a") is None


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("imagesTr/lung_001_2.nii.gz", "imagesTr/lung_001"),
        ("P01/scan2.nii.gz", "P01"),
        ("smith.nii.gz", "smith.nii.gz"),
        ("", ""),
    ],
)
def test_a_path_of_a_list_represents_its_patient_up_to_its_first_number(path, key):
    assert listed_key(path) == key


def test_a_digest_tells_patients_apart_and_no_name():
    assert digest("one") != digest("two")
    assert len(digest("o\udce9ne")) == 64
    assert "one" not in digest("one")
