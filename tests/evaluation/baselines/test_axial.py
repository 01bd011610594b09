import numpy as np
import pytest
from hypothesis import given

from ct_vae.errors import ConfigError
from ct_vae.evaluation.baselines.axial import axial_slices, from_axial_slices, import_codec
from ct_vae.grid import Grid
from ct_vae.volume import Volume
from tests._strategies import axcodes
from tests.evaluation._cases import random_volume


@given(axcodes=axcodes)
def test_slices_come_back_in_any_orientation(axcodes):
    plain = random_volume()
    grid = plain.grid.reorient(axcodes)
    volume = Volume(plain.grid.reorient_array(plain.voxels, axcodes), grid)
    slices = axial_slices(volume)
    assert slices.flags.c_contiguous
    assert len(slices) == volume.voxels.shape[axcodes.replace("I", "S").index("S")]
    back = from_axial_slices(slices, volume)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.grid == grid


def test_decoded_values_are_rounded_and_stay_in_the_range_of_the_original():
    original = Volume(np.array([[[-1000.4, 0.0, 99.6]]], np.float32), Grid((1, 1, 3), np.eye(4)))
    decoded = from_axial_slices(np.array([[[-2000.0]], [[0.6]], [[5000.0]]]), original)
    assert decoded.voxels.tolist() == [[[-1000, 1, 100]]]
    assert decoded.voxels.dtype == np.int16


def test_a_missing_package_is_named_with_its_extra():
    assert import_codec("json", "JSON", "none") is __import__("json")
    with pytest.raises(ConfigError, match="X baseline needs the package no_such_codec") as error:
        import_codec("no_such_codec", "X", "baselines")
    assert error.value.hint == "pip install 'ct_vae[baselines]'"
