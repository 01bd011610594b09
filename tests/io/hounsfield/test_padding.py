import numpy as np
import pytest

from ct_vae.volume import AIR_HU
from tests.io.hounsfield._thorax import circle, thorax, volume


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("padding", [-1400, -1500, -2000, -2048, -3024, -32768])
def test_padding_becomes_air_and_a_mask(padding, dtype):
    inside = thorax().astype(dtype)
    result = volume(np.where(circle(), dtype(padding), inside))
    np.testing.assert_array_equal(result.outside_fov, circle())
    np.testing.assert_array_equal(result.voxels, np.where(circle(), AIR_HU, inside))
    assert str(padding) in result.warnings[0]
    assert str(np.count_nonzero(circle())) in result.warnings[0]


def test_undershoot_of_resampling_is_kept():
    voxels = thorax()
    voxels[0, 0, :4] = [-1399, -1200, -1100, -1030]
    result = volume(voxels)
    np.testing.assert_array_equal(result.voxels, voxels)
    assert result.outside_fov is None
