import shutil

import numpy as np
import pytest

from ct_vae.errors import InputError, NoInputError
from ct_vae.find_volumes.cases import discover
from ct_vae.grid import Grid
from ct_vae.io import read_volume
from ct_vae.io.dicom.derived.source import opened_series
from ct_vae.volume import Volume
from tests.io import _series as series
from tests.io._derived import N, derive, record_of


@pytest.fixture
def source(tmp_path):
    return series.write_series(tmp_path / "source", series.make_series(N))


def test_the_source_is_found_among_others_by_its_voxels(tmp_path):
    for seed in (1, 2):
        slices = series.make_series(N, seed=seed)
        for each in slices:
            each.SeriesInstanceUID += f".{seed}"
            each.SOPInstanceUID += f".{seed}"
        series.write_series(tmp_path / "both" / str(seed), slices)
    for seed in (1, 2):
        volume = read_volume(tmp_path / "both" / str(seed))
        with opened_series([tmp_path / "both"]) as found:
            template = found.template_of(record_of(volume))
        assert all(each.instance.endswith(f".{seed}") for each in template.slices)


def test_another_series_is_refused_in_one_line(source, tmp_path):
    volume = read_volume(source)
    elsewhere = Grid(volume.grid.shape, volume.grid.affine + np.diag([0, 0, 1e-9, 0]))
    with opened_series([source]) as found:
        with pytest.raises(InputError, match="no CT series has the grid of the source") as error:
            found.template_of(record_of(Volume(volume.voxels, elsewhere)))
        assert "\n" not in str(error.value)
        changed = volume.voxels.copy()
        changed[0, 0, 0] += 1
        with pytest.raises(InputError, match="different voxels"):
            found.template_of(record_of(Volume(changed, volume.grid)))
        with pytest.raises(InputError, match="nifti format"):
            found.template_of(record_of(Volume(changed, elsewhere), "nifti"))


def test_folders_without_ct_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    empty = opened_series([tmp_path / "empty"])
    with pytest.raises(NoInputError, match="no readable CT series"), empty:
        pass
    with pytest.raises(NoInputError, match="no such file"), opened_series([tmp_path / "absent"]):
        pass
    named = series.write_series(tmp_path / "good", series.make_series(N)) / "#s003_00000000"
    with pytest.raises(NoInputError, match="no readable CT series"), opened_series([named]):
        pass
    slices = series.make_series(N)
    del slices[0].PixelSpacing
    broken = series.write_series(tmp_path / "broken", slices)
    with pytest.raises(InputError, match="PixelSpacing"), opened_series([broken]):
        pass


@pytest.fixture
def beside(source):
    """A tree that holds a source and what was decoded from it."""
    derive(source, source.parent / "decoded")
    return source.parent


def test_folders_are_searched_without_decoded_series(beside):
    told = []
    (case,) = discover([beside], report=told.append)
    assert case.path.parent.name == "source"
    assert len(told) == 1
    assert "decoded from a latent" in told[0]
    (case,) = discover([beside / "*"])
    assert case.path.parent.name == "source"
    for pattern in ("deco*", "decoded/*"):
        with pytest.raises(NoInputError, match="decoded from a latent"):
            discover([beside / pattern])


def test_decoded_series_are_taken_when_named(beside, tmp_path):
    (case,) = discover([beside / "decoded"])
    assert case.path.parent == beside / "decoded"
    id_ = case.path.name
    assert discover([beside / id_])[0].path == beside / id_
    assert case.series.derived
    archive = shutil.make_archive(str(tmp_path / "zip" / "a"), "zip", beside / "decoded")
    assert len(discover([archive])) == 1
    with pytest.raises(NoInputError, match="decoded from a latent"):
        discover([tmp_path / "zip" / "*.zip"])


def test_reading_a_tree_takes_what_was_not_decoded(beside, source):
    volume = read_volume(beside)
    np.testing.assert_array_equal(volume.voxels, read_volume(source).voxels)
    assert any("left out: it has been decoded" in line for line in volume.warnings)
    assert not any("left out" in line for line in read_volume(beside / "decoded").warnings)
