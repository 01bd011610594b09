import sys

import numpy as np
import pytest

from ct_vae.errors import ConfigError
from ct_vae.evaluation.baselines.sperr import sperr_baseline
from ct_vae.grid import Grid
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests.evaluation.baselines._error import rmse


@pytest.fixture(scope="module")
def abdomen():
    return make_phantom("abdomen", 2, 4.0, (64, 48, 24), 12)


@pytest.mark.parametrize("bits", [0.25, 1, 4])
def test_the_rate_is_near_the_target(abdomen, bits):
    found = sperr_baseline(abdomen, bits)
    assert found.bits / abdomen.voxels.size == pytest.approx(bits, rel=0.05)
    assert found.volume.grid == abdomen.grid
    assert found.volume.voxels.dtype == np.int16


def test_more_bits_mean_less_error_down_to_rounding(abdomen):
    errors = [rmse(abdomen, sperr_baseline(abdomen, bits)) for bits in (0.1, 0.5, 2, 14)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < abdomen.voxels.std()
    assert errors[-1] < 0.5


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_arrays_in_any_memory_order_are_coded_alike(abdomen, order):
    """SPERR reads the buffer of an array and not its strides."""
    affine = abdomen.grid.affine[:, [*order, 3]]
    view = Volume(
        abdomen.voxels.transpose(order),
        Grid(tuple(abdomen.grid.shape[k] for k in order), affine),
    )
    assert not view.voxels.flags["C_CONTIGUOUS"]
    whole = Volume(np.ascontiguousarray(view.voxels), view.grid)
    found, expected = sperr_baseline(view, 1), sperr_baseline(whole, 1)
    assert found.bits == expected.bits
    np.testing.assert_array_equal(found.volume.voxels, expected.volume.voxels)
    assert rmse(view, found) == pytest.approx(rmse(abdomen, sperr_baseline(abdomen, 1)), rel=0.1)


@pytest.mark.parametrize("bits", [0, -1, float("nan")])
def test_no_bits_are_refused(abdomen, bits):
    with pytest.raises(ConfigError, match="SPERR"):
        sperr_baseline(abdomen, bits)


def test_a_missing_package_is_named(abdomen, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ConfigError, match=r"pip install 'ct_vae\[baselines\]'"):
        sperr_baseline(abdomen, 1)
