from pathlib import Path

import pytest

from ct_vae.find_volumes.series_cases import (
    dicom_cases,
    series_cases,
    series_key,
    series_of_files,
)
from ct_vae.io import scan_series
from ct_vae.io.walk import walk_files
from tests.datasets._files import write_ct_series
from tests.io._series import make_series, write_series


@pytest.mark.parametrize(
    ("parts", "name", "key"),
    [(("a", "b"), "s1", "a/b_s1"), ((), "s1", "s1"), (("a",), "", "a")],
)
def test_the_key_is_the_folder_and_the_id(parts, name, key):
    assert series_key(parts, name) == key


def test_every_file_is_in_a_case_or_left_out_once(tmp_path):
    write_ct_series(tmp_path / "a", "one", "1.2.9.1", "1.2.9.1.1")
    write_ct_series(tmp_path / "b" / "c", "two", "1.2.9.2", "1.2.9.2.1", number=4)
    (tmp_path / "notes.txt").write_text("x")
    files = list(walk_files(tmp_path))
    found = dicom_cases(files, tmp_path, named=True)
    assert sorted(case.key.rpartition("_s")[0] for case in found.cases) == ["a", "b/c"]
    assert [each.path.name for each in found.left_out] == ["notes.txt"]
    used = [file for case in found.cases for file in case.series.files]
    assert sorted([*used, tmp_path / "notes.txt"]) == sorted(files)


def test_slices_given_one_by_one_are_their_series(tmp_path):
    folder = write_series(tmp_path / "s", make_series())
    files = sorted(folder.iterdir())
    found = series_of_files([*files, tmp_path / "absent"])
    assert found.keys() == set(files)
    (case,) = {case for each in found.values() for case in each.cases}
    assert case.read().grid.shape[2] == len(files)
    assert series_of_files(files[:1]) == {}


def test_few_slices_are_a_case_only_if_they_are_alone(tmp_path):
    write_series(tmp_path / "few", make_series(2))
    few = scan_series(tmp_path / "few")
    alone = series_cases(few, lambda _: (), tmp_path / "few")
    assert (len(alone.cases), alone.left_out) == (1, [])
    elsewhere = series_cases(few, lambda _: (), tmp_path)
    assert (elsewhere.cases, len(elsewhere.left_out)) == ([], 1)
    assert "is skipped" in elsewhere.left_out[0].reason


def test_refused_series_stay_cases(tmp_path):
    write_series(tmp_path / "s", make_series(5, positions=[0, 1, 2, 4, 5]))
    found = series_cases(scan_series(tmp_path), lambda _: (), Path(tmp_path))
    assert [case.series.verdict for case in found.cases] == ["refused"]
