from pathlib import Path

import numpy as np
import pytest

from ct_vae.errors import NoInputError
from ct_vae.find_volumes.case import Case, FoundCases, SearchResult
from ct_vae.find_volumes.left_out import LeftOut
from ct_vae.io import ReadOptions, read_volume, scan_series, write_volume
from tests.io._samples import ct_volume
from tests.io._series import make_series, write_series

LEFT = LeftOut(Path("a.txt"), "other", "is a text")


def test_a_case_reads_its_file_or_its_series(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    case = Case(tmp_path / "a.nii.gz", "a")
    np.testing.assert_array_equal(case.read().voxels, ct_volume().voxels)
    lower = case.read(ReadOptions(hu_offset=-10.0))
    np.testing.assert_array_equal(lower.voxels, ct_volume().voxels - 10)
    (series,) = scan_series(write_series(tmp_path / "s", make_series()))
    expected = read_volume(tmp_path / "s").voxels
    np.testing.assert_array_equal(Case(series.path, "s", series).read().voxels, expected)
    with pytest.raises(NoInputError):
        Case(tmp_path / "absent.nii", "x").read()


def test_cases_are_equal_by_path_and_key(tmp_path):
    (series,) = scan_series(write_series(tmp_path / "s", make_series()))
    assert Case(series.path, "s", series) == Case(series.path, "s")
    assert len({Case(Path("a"), "a"), Case(Path("a"), "b"), Case(Path("b"), "a")}) == 3


def test_found_cases_are_a_list_with_what_is_left_out():
    cases = [Case(Path("a"), "a")]
    found = FoundCases(cases, [LEFT])
    assert (found, found.left_out) == (cases, [LEFT])
    assert FoundCases().left_out == []


def test_results_are_joined_and_moved_below_a_folder():
    result = SearchResult([Case(Path("x/a"), "a")], [])
    result.add(SearchResult([Case(Path("x/b"), "c/b")], [LEFT]))
    assert [case.key for case in result.below("x").cases] == ["x/a", "x/c/b"]
    assert result.below("x").left_out == [LEFT]
    assert result.below("") is result
