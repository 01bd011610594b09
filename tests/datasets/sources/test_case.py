from dataclasses import replace

import numpy as np
import pytest

from ct_vae.datasets.sources.case import FileCase, PhantomCase
from ct_vae.errors import NoInputError
from ct_vae.io import ReadOptions, read_volume, scan_series, write_volume
from tests._small import ct_volume
from tests.io._series import make_series, write_series


@pytest.fixture
def case(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    return FileCase("a", tmp_path / "a.nii.gz")


def test_a_file_is_loaded_with_its_options(case):
    assert case.files == (case.path,)
    assert case.header_grid() == case.load().grid == ct_volume().grid
    lower = replace(case, options=ReadOptions(hu_offset=-10.0))
    np.testing.assert_array_equal(lower.load().voxels, case.load().voxels - 10)


def test_the_recipe_holds_what_affects_voxels_and_no_more(case, tmp_path):
    assert replace(case, patient="P", weight=2.0, key="b").recipe == case.recipe
    assert replace(case, options=ReadOptions(hu_offset=-10.0)).recipe != case.recipe
    (tmp_path / "s").mkdir()
    series = tmp_path / "s" / "#s003_ab12cd34"
    assert replace(case, path=series).recipe != replace(case, path=tmp_path / "s").recipe


def test_a_series_consists_of_all_its_slices(tmp_path):
    write_series(tmp_path / "s", make_series())
    (series,) = scan_series(tmp_path / "s")
    case = FileCase("s", series.path, series)
    assert sorted(case.files) == sorted((tmp_path / "s").iterdir())
    np.testing.assert_array_equal(case.load().voxels, read_volume(tmp_path / "s").voxels)
    assert case.header_grid() == case.load().grid


def test_a_file_that_is_gone_is_reported(tmp_path):
    case = FileCase("a", tmp_path / "a.nii.gz")
    for work in (case.load, case.header_grid):
        with pytest.raises(NoInputError, match=r"a\.nii\.gz"):
            work()


def test_a_phantom_is_known_by_anatomy_seed_and_spacing():
    case = PhantomCase("head", 3, (12.0, 12.0, 12.0))
    assert (case.key, case.files, case.weight) == ("head_0003", (), 1.0)
    grid = case.load().grid
    assert case.header_grid().shape == grid.shape
    assert grid.spacing_mm == (12, 12, 12)
    changes = ({"seed": 4}, {"anatomy": "thorax"}, {"spacing_mm": (9.0,) * 3})
    others = [replace(case, **change) for change in changes]
    assert len({each.recipe for each in [case, *others]}) == 4
