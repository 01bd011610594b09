import pytest

from ct_vae.datasets.sources.patients import digest, listed_key, patient_in_path


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
def test_a_path_of_a_list_stands_for_its_patient_up_to_its_first_number(path, key):
    assert listed_key(path) == key


def test_a_digest_tells_patients_apart_and_no_name():
    assert digest("one") != digest("two")
    assert len(digest("o\udce9ne")) == 64
    assert "one" not in digest("one")
