import sys

import numpy as np
import pytest

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.hevc import hevc_baseline
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests.evaluation._cases import random_volume
from tests.evaluation.baselines._error import rmse


@pytest.fixture(scope="module")
def abdomen():
    pytest.importorskip("av", reason="PyAV is not installed")
    return make_phantom("abdomen", 2, 4.0, (64, 48, 8), 12)


def test_a_smaller_quantizer_takes_more_bits_and_has_less_error(abdomen):
    found = [hevc_baseline(abdomen, qp) for qp in (40, 20, 0)]
    bits = [each.bits for each in found]
    errors = [rmse(abdomen, each) for each in found]
    assert bits == sorted(bits)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < abdomen.voxels.std()
    # A step of the quantizer at QP 0 with 12 bits is about 10 of the 4096 values.
    assert errors[-1] < 4
    assert found[0].volume.grid == abdomen.grid


def test_every_slice_comes_back_at_its_place(abdomen):
    """Frames are coded in another order than they are shown."""
    rng = np.random.default_rng(0)
    levels = rng.permutation(np.arange(20) * 180 - 1000)
    voxels = np.broadcast_to(levels, (33, 35, 20)).astype(np.int16)
    volume = Volume(voxels, random_volume(shape=voxels.shape).grid)
    back = hevc_baseline(volume, 10).volume.voxels
    assert np.abs(back.mean((0, 1)) - levels).max() < 20


def test_hu_beyond_12_bits_are_clipped(abdomen):
    voxels = abdomen.voxels.copy()
    voxels[:10], voxels[-10:] = -2000, 9000
    back = hevc_baseline(Volume(voxels, abdomen.grid), 0).volume.voxels
    assert abs(float(np.median(back[:10])) + 1024) < 10
    assert abs(float(np.median(back[-10:])) - 3071) < 10


@pytest.mark.parametrize("qp", [-1, 52])
def test_a_quantizer_out_of_range_is_refused(abdomen, qp):
    with pytest.raises(ConfigError, match="0 to 51"):
        hevc_baseline(abdomen, qp)


def test_slices_below_a_coding_block_are_refused(abdomen):
    with pytest.raises(InputError, match="32 x 32"):
        hevc_baseline(random_volume(shape=(64, 31, 8)), 20)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'ct_vae\[hevc\]'"):
        hevc_baseline(random_volume(), 20)
