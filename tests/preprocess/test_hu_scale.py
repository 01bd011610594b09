import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor

from ct_vae.errors import ConfigError
from ct_vae.preprocess.hu_scale import HounsfieldScale

SCALE = HounsfieldScale((-1000.0, 1000.0), (-1.0, 1.0))


@given(st.floats(-1000, 1000, width=32))
def test_the_way_back_undoes_the_way_in(hu):
    assert SCALE.to_hu(SCALE.to_model(torch.tensor(hu))).item() == pytest.approx(hu, abs=1e-3)


@given(st.floats(-5000, 40000, width=32))
def test_units_stay_in_the_model_range(hu):
    assert -1 <= SCALE.to_model(torch.tensor(hu)).item() <= 1


@pytest.mark.parametrize(
    ("window", "units", "hu", "expected"),
    [
        ((-1000.0, 1000.0), (-1.0, 1.0), 0, 0.0),
        ((-1000.0, 1000.0), (0.0, 1.0), 0, 0.5),
        ((-1024.0, 3000.0), (0.0, 1.0), -1024, 0.0),
        ((0.0, 80.0), (-1.0, 1.0), 40, 0.0),
    ],
)
def test_known_values(window, units, hu, expected):
    scale = HounsfieldScale(window, units)
    assert scale.to_model(torch.tensor([float(hu)])).item() == pytest.approx(expected)


def test_outside_counts_what_is_clipped_and_nothing_else():
    hu = torch.tensor([-1001, -1000, 0, 1000, 1001, 3000], dtype=torch.int16)
    assert SCALE.outside(hu) == (1 / 6, 2 / 6)


def test_hu_per_unit_is_the_slope():
    assert SCALE.hu_per_unit == 1000
    assert HounsfieldScale((-1000.0, 1000.0), (0.0, 1.0)).hu_per_unit == 2000


@pytest.mark.parametrize("interval", [(1.0, 1.0), (2.0, -2.0)])
def test_an_interval_that_does_not_rise_is_refused(interval):
    with pytest.raises(ConfigError, match="low to high"):
        HounsfieldScale(interval, (-1.0, 1.0))
    with pytest.raises(ConfigError, match="low to high"):
        HounsfieldScale((-1.0, 1.0), interval)


@pytest.mark.parametrize("way", [SCALE.to_model, SCALE.to_hu])
def test_a_plain_tensor_stays_plain_and_one_with_meta_data_keeps_it(way):
    plain = torch.zeros(1, 4, 4, 4)
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    assert type(way(plain)) is torch.Tensor
    placed = way(MetaTensor(plain, affine=affine))
    assert isinstance(placed, MetaTensor)
    assert torch.equal(placed.affine, affine.to(placed.affine))
