import json

import pytest

from ct_vae.errors import ConfigError
from ct_vae.evaluation.patients import read_patients, unit_of


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "list.csv").write_text("image,patient\na.nii.gz,P1\nsub/b.nii.gz,P2\n")
    entries = [{"image": "a.nii.gz", "patient": "P1"}, {"image": "sub/b.nii.gz", "patient": "P2"}]
    (tmp_path / "list.json").write_text(json.dumps({"training": [*entries, "c.nii.gz"]}))
    return tmp_path


@pytest.mark.parametrize("name", ["list.csv", "list.json"])
def test_volumes_are_found_by_their_place_however_it_is_written(listed, name, monkeypatch):
    patients = read_patients(listed / name)
    monkeypatch.chdir(listed)
    (listed / "sub").mkdir()
    (listed / "sub" / "b.nii.gz").touch()
    (listed / "link.nii.gz").symlink_to(listed / "sub" / "b.nii.gz")
    assert unit_of(listed / "a.nii.gz", "case_0001", patients) == "P1"
    assert unit_of((listed / "sub" / ".." / "a.nii.gz"), "case_0001", patients) == "P1"
    assert unit_of(listed / "link.nii.gz", "case_0002", patients) == "P2"


def test_a_link_in_a_circle_has_a_patient_too(listed):
    (listed / "a.nii.gz").symlink_to(listed / "a.nii.gz")
    assert unit_of(listed / "a.nii.gz", "case_0001", read_patients(listed / "list.csv")) == "P1"


def test_who_is_not_listed_is_a_patient_of_their_own(listed):
    patients = read_patients(listed / "list.csv")
    for name in ("c.nii.gz", "sub/a.nii.gz"):
        assert unit_of(listed / name, "case_0003", patients) == "case_0003"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "image\na.nii.gz\n", "contains no patients"),
        ("a.json", '{"training": ["a.nii.gz"]}', "contains no patients"),
        ("a.json", '{"training": [7]}', r"training\[0\]"),
        ("a.csv", "volume,who\na,b\n", "image"),
    ],
)
def test_lists_that_tell_nothing_are_refused_by_name(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        read_patients(tmp_path / name)
    assert name in str(error.value)
