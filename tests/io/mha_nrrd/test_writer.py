import numpy as np
import pytest
import SimpleITK
from hypothesis import given

from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, read_volume, write_volume
from ct_vae.volume import Volume
from tests._strategies import ALL_AXCODES, grids
from tests.io._samples import AFFINE, ct_volume, ct_voxels
from tests.io.mha_nrrd._itk import itk_grid, itk_voxels

SUFFIXES = ["mha", "nrrd"]


FORCE = ReadOptions(force=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("itk")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("axcodes", ALL_AXCODES)
def test_every_orientation_is_written_and_read_identically(place, suffix, axcodes):
    grid = Grid((5, 7, 9), AFFINE).reorient(axcodes)
    volume = Volume(ct_voxels(grid.shape), grid)
    path = place / f"turned.{suffix}"
    write_volume(volume, path)
    again = read_volume(path)
    assert again.grid == grid
    np.testing.assert_array_equal(again.voxels, volume.voxels)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(grid=grids(shear=9e-3))
def test_itk_reads_what_was_written_at_the_same_place(place, suffix, grid):
    path = place / f"any.{suffix}"
    voxels = np.arange(np.prod(grid.shape)).reshape(grid.shape).astype(np.int16)
    write_volume(Volume(voxels, grid), path)
    oracle = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(itk_voxels(oracle), voxels)
    assert itk_grid(oracle).distance_mm(grid) < 1e-9
    assert read_volume(path, FORCE).grid.distance_mm(grid) < 1e-9


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_volume_gives_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        write_volume(ct_volume(), tmp_path / f"{name}.{suffix}")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
