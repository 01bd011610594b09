import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.io.hounsfield.build import UNLIKE_HU, hounsfield_volume
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.read_options import ReadOptions
from ct_vae.volume import AIR_HU
from tests.io.hounsfield._thorax import GRID, circle, thorax, volume


def test_stored_values_become_hu_with_facts_and_notes():
    stored = thorax() + 1024
    made = hounsfield_volume(stored, Scaling(1, -1024), GRID, ReadOptions(), {"format": "x"}, ["n"])
    np.testing.assert_array_equal(made.voxels, thorax())
    assert made.source == {"format": "x", "dtype": "int16"}
    assert made.warnings == ("n",)
    assert made.outside_fov is None


def test_an_offset_is_added_and_recorded():
    made = volume(thorax() + 1024, hu_offset=-1024.0)
    np.testing.assert_array_equal(made.voxels, thorax())
    assert made.source["hu_offset"] == -1024
    assert made.warnings == ("-1024 HU were added to every value",)


def test_padding_becomes_air_and_a_mask():
    voxels = thorax()
    voxels[circle()] = -2000
    made = volume(voxels)
    np.testing.assert_array_equal(made.outside_fov, circle())
    assert (made.voxels[circle()] == AIR_HU).all()
    assert "padding outside the field of view" in made.warnings[0]


def test_voxels_that_are_not_finite_need_consent():
    voxels = thorax(dtype=np.float32)
    voxels[:2] = np.nan
    with pytest.raises(InputError):
        volume(voxels)
    made = volume(voxels, nan="air")
    assert (made.voxels[:2] == AIR_HU).all()
    assert f"{voxels[:2].size} voxels were not finite" in made.warnings[0]


def test_values_unlike_hu_need_consent_and_are_recorded():
    voxels = thorax() + 1024
    with pytest.raises(InputError, match="without its rescale intercept") as error:
        volume(voxels)
    assert volume(voxels, force=True).source[UNLIKE_HU] == error.value.cause


def test_voxels_of_other_units_are_refused_even_with_consent():
    small = Grid(GRID.shape, np.diag([1e-3, 1e-3, 1e-3, 1.0]))
    with pytest.raises(InputError, match="lengths are in meters"):
        hounsfield_volume(thorax(), Scaling(), small, ReadOptions(force=True), {})
