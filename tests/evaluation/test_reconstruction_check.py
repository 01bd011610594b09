import numpy as np
import pytest

from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.reconstruction_check import reconstruction_warnings
from ct_vae.grid import Grid
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.read_options import ReadOptions
from ct_vae.volume import Volume
from tests.io.hounsfield._disguises import DISGUISES, HARDER
from tests.io.hounsfield._thorax import SHAPE, thorax

GRID = Grid(SHAPE, np.eye(4))
SAME_GRID = [name for name in (*DISGUISES, *HARDER) if "resampled" not in name]


def warnings_of(values, original=None):
    """As `compare` reads a reconstruction with these values."""
    values = np.array(values, order="F")
    result = hounsfield_volume(values, Scaling(), GRID, ReadOptions(force=True), {})
    return reconstruction_warnings(Pair(original or Volume(thorax(), GRID), result))


@pytest.mark.parametrize("name", SAME_GRID)
def test_a_reconstruction_that_is_not_in_hu_is_told(name):
    assert warnings_of({**DISGUISES, **HARDER}[name](thorax()))


def test_a_lost_intercept_is_told_with_its_size():
    told = warnings_of(thorax() + 1024)
    assert any("HU + 1024" in line for line in told)
    assert any("is +1024 HU" in line for line in told)
    assert not any("--force" in line for line in told)


def test_a_crop_without_air_that_is_shifted_is_told_by_its_original():
    inside = np.clip(thorax(), 20, 60) + np.arange(26, dtype=np.int16)
    original = Volume(inside, GRID)
    assert any("+400 HU" in line for line in warnings_of(inside + 400, original))


@pytest.mark.parametrize("change", [0, 30, -30])
def test_bad_but_plausible_reconstructions_are_only_measured(change):
    rng = np.random.default_rng(0)
    assert not warnings_of(thorax() + change + rng.normal(0, 50, SHAPE).astype(np.int16))
