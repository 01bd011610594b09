"""Series as they come from archives and scanners: what is read, what is refused, in which words."""

from __future__ import annotations

import numpy as np
import pytest

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._series import assert_nothing_identifying, hounsfield
from tests.io.dicom._odd_series import ROWS
from tests.io.dicom._series_makers import N


@pytest.mark.parametrize("name", ROWS)
def test_a_series_is_read_or_refused_as_it_should_be(tmp_path, name):
    row = ROWS[name]
    folder = tmp_path / "study"
    row.make(folder)
    found = scan_series(folder)
    fit = [each for each in found if each.verdict == "ok"]
    assert sorted(each.slices for each in fit) == sorted(row.sizes)
    assert len({each.id for each in found}) == len(found)
    for each in fit:
        volume = each.read()
        assert volume.grid.shape[2] == each.slices
        assert row.told in " ".join(volume.warnings)
        assert bool(row.told) == bool(volume.warnings)
        assert_nothing_identifying(" ".join(volume.warnings))
    rest = [each for each in found if each.verdict != "ok"]
    assert bool(rest) == bool(row.reason)
    for each in rest:
        assert row.reason in each.reason
        assert_nothing_identifying(each.reason)
    # Every file is in a series that is read or told.
    files = {file for each in found for file in each.files}
    missed = {path for path in folder.rglob("*") if path.is_file()} - files
    assert not missed or any(each.id.startswith("unreadable") for each in rest)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.sizes == (12,)])
def test_the_voxels_of_one_whole_series_are_those_of_its_slices(tmp_path, name):
    ROWS[name].make(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield(N))


def test_capture_and_few_slices_are_read_when_they_are_meant(tmp_path):
    ROWS["a secondary capture with the geometry of a volume"].make(tmp_path / "capture")
    volume = read_volume(tmp_path / "capture", ReadOptions(any_sop_class=True))
    np.testing.assert_array_equal(volume.voxels, hounsfield(N))
    with pytest.raises(CtVaeError, match="--any-sop-class"):
        read_volume(tmp_path / "capture", ReadOptions(force=True))
    ROWS["three slices"].make(tmp_path / "few")
    np.testing.assert_array_equal(read_volume(tmp_path / "few").voxels, hounsfield(3))


def test_one_tree_of_all_of_them_loses_no_file(tmp_path):
    """In one search, series of many folders share their UIDs, as constant UIDs would have it."""
    for name, row in ROWS.items():
        row.make(tmp_path / name)
    found = scan_series(tmp_path)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {file for each in found for file in each.files} == files
    unreadable = [each for each in found if each.id.startswith("unreadable")]
    assert sum(each.slices for each in unreadable) == 1
    assert len({each.id for each in found}) == len(found)
    assert all(each.reason for each in found if each.verdict != "ok")


def test_each_kind_of_series_is_in_the_documentation(repository):
    text = (repository / "docs" / "formats.md").read_text("utf-8")
    for name, row in ROWS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert row.insist in line
