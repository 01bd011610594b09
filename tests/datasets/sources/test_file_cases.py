import pytest

from ct_vae.errors import InputError
from ct_vae.io import scan_series
from tests.datasets._files import write_ct_series, write_list, write_volumes
from tests.datasets.sources._splitting import keys, refusal, split


@pytest.fixture
def folder(tmp_path):
    return write_volumes(tmp_path, "a", "b", "c")


def test_folders_of_several_sites_may_hold_the_same_names(folder):
    for site in ("s1", "s2"):
        write_volumes(folder / site, "case")
    found = split(train=(str(folder / "s1"),), val=(str(folder / "s2"),))
    assert (keys(found.train), keys(found.val)) == (["case"], ["case"])


def test_a_volume_that_two_patterns_find_is_one_case_and_on_one_side(folder):
    assert keys(split(train=(str(folder), str(folder / "a*"))).train) == ["a", "b", "c"]
    text = refusal(train=(str(folder),), val=(str(folder / "b.nii.gz"),))
    assert "a volume is in training (b) and validation (b)" in text


def test_every_pattern_that_finds_nothing_is_reported(tmp_path):
    (tmp_path / "empty").mkdir()
    text = refusal(
        train=(str(tmp_path / "empty"), str(tmp_path / "gone")), val=(str(tmp_path / "*.mha"),)
    )
    for words in ("3 problems", "empty: no volumes", "gone: there is no such", "*.mha: no volumes"):
        assert words in text


def test_bids_subjects_are_patients(tmp_path):
    write_volumes(tmp_path, "x/sub-01/sub-01_ses-1_ct", "y/sub-01/sub-01_ses-2_ct", "y/sub-2/ct")
    text = refusal(train=(str(tmp_path / "x"),), val=(str(tmp_path / "y"),))
    assert "1 problem" not in text
    assert "patient 'sub-01' is in training (sub-01/sub-01_ses-1_ct) and validation" in text


def test_a_pattern_tells_patients(tmp_path):
    write_volumes(tmp_path, "t/x-12-1", "t/x-13-1", "v/x-12-2")
    data = {"train": (str(tmp_path / "t"),), "val": (str(tmp_path / "v"),)}
    assert len(split(**data).train) == 2
    text = refusal(**data, patient_pattern=r"x-(\d+)-\d")
    assert "patient '12' is in training (x-12-1) and validation (x-12-2)" in text
    assert "x-13" not in text
    text = refusal(**data, patient_pattern=r"x-(13)")
    assert "2 problems" in text
    assert text.count("data.patient_pattern finds no patient in this path") == 2


def test_series_of_one_patient_are_kept_together_by_their_headers(tmp_path):
    write_ct_series(tmp_path / "t" / "s", "one", "1.2.9.1", "1.2.9.1.1")
    write_ct_series(tmp_path / "v" / "s", "one", "1.2.9.2", "1.2.9.2.1", number=4)
    write_ct_series(tmp_path / "w" / "s", "two", "1.2.9.3", "1.2.9.3.1", number=5)
    text = refusal(train=(str(tmp_path / "t"),), val=(str(tmp_path / "v"),))
    assert "one patient is in training" in text
    assert "1.2.9" not in text
    found = split(train=(str(tmp_path / "t"),), val=(str(tmp_path / "w"),))
    assert found.train[0].load().grid.shape == (10, 12, 8)
    listed = write_list(
        tmp_path, training=["t/s"], validation=["w/s", f"v/s/{found_id(tmp_path / 'v')}"]
    )
    assert "one patient is in training (t/s) and validation (v/s/#" in refusal(**listed)


def found_id(folder):
    return split(train=(str(folder),)).train[0].path.name


def test_series_that_would_be_read_wrongly_are_reported_before_anything_is_read(tmp_path):
    write_ct_series(tmp_path / "good", "one", "1.2.9.1", "1.2.9.1.1")
    gap = write_ct_series(
        tmp_path / "gap", "two", "1.2.9.2", "1.2.9.2.1", positions=[0, 1, 2, 4, 5], n=5
    )
    with pytest.raises(InputError, match="gap"):
        split(train=(str(tmp_path),))
    with pytest.raises(InputError, match=r"training\[1\] gap"):
        split(**write_list(tmp_path, training=["good", "gap"]))
    (each,) = scan_series(gap)
    for name in ("gap", f"gap/#{each.id}"):
        consent = {"resample_irregular": True}
        found = split(**write_list(tmp_path, training=[name], read_options=consent))
        assert found.train[0].load().grid.shape[2] == 6
