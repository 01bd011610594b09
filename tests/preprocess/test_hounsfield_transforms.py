import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose

from ct_vae.errors import ConfigError
from ct_vae.preprocess.hounsfield_transforms import ScaleHUd, UnscaleHUd


def image(values=(-2000.0, -1000.0, 0.0, 250.0, 1000.0, 3000.0)):
    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    return MetaTensor(torch.tensor(values).view(1, -1, 1, 1), affine=affine)


def test_hu_become_model_units_clipped_and_stay_in_place():
    item = ScaleHUd("ct", (-1000.0, 1000.0), (0.0, 1.0))({"ct": image(), "other": 1})
    assert item["ct"].flatten().tolist() == [0, 0, 0.5, 0.625, 1, 1]
    assert item["ct"].affine.equal(image().affine)
    assert item["other"] == 1


@given(st.floats(-1000, 1000), st.floats(-900, 900))
def test_the_inverse_of_either_gives_back_what_is_in_the_window(a, b):
    way = Compose([ScaleHUd("ct")])
    assert torch.allclose(way.inverse(way({"ct": image((a, b))}))["ct"], image((a, b)), atol=1e-3)
    back = Compose([UnscaleHUd("ct")])
    units = image((a / 1000, b / 1000))
    hu = back({"ct": units})
    assert torch.allclose(hu["ct"].as_tensor(), 1000 * units.as_tensor(), atol=1e-3)
    assert torch.allclose(back.inverse(hu)["ct"], units, atol=1e-6)


def test_the_inverse_leaves_no_trace():
    transform = ScaleHUd("ct")
    once = transform({"ct": image()})
    assert len(once["ct"].applied_operations) == 1
    assert transform.inverse(once)["ct"].applied_operations == []


def test_missing_keys_and_wrong_intervals():
    assert ScaleHUd("ct", allow_missing_keys=True)({}) == {}
    with pytest.raises(ConfigError, match="window_hu runs from low to high"):
        ScaleHUd("ct", window_hu=(1.0, 1.0))
