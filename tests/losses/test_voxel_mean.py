import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.config.run import RunConfig
from ct_vae.losses.build import build_objective
from ct_vae.losses.reconstruction import Reconstruction, reconstruction_loss
from ct_vae.losses.voxel_mean import voxel_mean
from ct_vae.losses.window import WindowLoss
from tests.losses._pairs import pair


def banal_mean(values: np.ndarray, factor: list[int], weight: float) -> float:
    """Weighted mean, voxel by voxel."""
    total = count = 0.0
    for place in np.ndindex(*values.shape[2:]):
        ends = sum(n % f in (0, f - 1) for n, f in zip(place, factor, strict=True))
        total += weight**ends * values[(slice(None), slice(None), *place)].mean()
        count += weight**ends
    return total / count


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=3),
    st.floats(0.2, 4),
    st.integers(0, 1000),
)
def test_it_is_the_weighted_mean(axes, weight, seed):
    factor = [f for f, _ in axes]
    values = pair(*(f * n for f, n in axes), seed=seed)[0].double()
    result = voxel_mean(factor, weight)(values)
    assert result.item() == pytest.approx(banal_mean(values.numpy(), factor, weight))


def test_equal_errors_keep_their_mean():
    assert voxel_mean((4, 4, 2), 1.7)(torch.full((1, 1, 8, 4, 6), 0.3)).item() == pytest.approx(0.3)


def test_weight_one_is_the_plain_mean():
    values = pair()[0]
    assert torch.equal(voxel_mean((2, 2, 2), 1)(values), values.mean())


@pytest.mark.parametrize("name", ["l1", "mse", "charbonnier"])
def test_losses_use_it(name):
    """An error at a face costs more than the same error inside a block."""
    mean = voxel_mean((4,), 2.0)
    target = torch.zeros(1, 1, 8)
    face, inside = target.clone(), target.clone()
    face[..., 4], inside[..., 5] = 0.5, 0.5
    least = reconstruction_loss(name)(target, target)
    for loss in (reconstruction_loss(name, mean=mean), WindowLoss(-1.0, 1.0, mean)):
        bottom = least if loss(target, target) > 0 else 0.0
        assert (loss(face, target) - bottom) / (loss(inside, target) - bottom) == pytest.approx(2)


def test_the_configured_weight_arrives_in_both_losses():
    """The objective of a configuration weights the faces of the model's own factor."""
    config = RunConfig.model_validate_json(
        json.dumps(
            {
                "model": {"patch_size": 4, "linear_skip": True, "down_channels": [8]},
                "data": {"datalist": "x.json"},
                "training": {
                    "recon_type": "l1",
                    "window_weights": {"soft:500/50": 1.0},
                    "face_weight": 3.0,
                    "patch_size": [16, 16, 16],
                },
            }
        )
    )
    objective = build_objective(config, torch.nn.Identity(), torch.device("cpu"))
    target = torch.zeros(1, 1, 16, 16, 16)
    costs = []
    for place in (4, 5):
        image = target.clone()
        image[..., place, 5, 5] = 0.01
        values = objective(image, target, {"kl": torch.zeros(1, 4, 4, 4, 4)}, 0).values
        costs.append([values["reconstruction"].item(), values["window_soft"].item()])
    assert np.divide(*costs) == pytest.approx([3, 3], rel=1e-4)


def test_logits_are_weighted_too():
    raw, target = pair(8)
    weighted = Reconstruction("bce", mean=voxel_mean((4,), 2.0))
    each = torch.nn.functional.binary_cross_entropy_with_logits(raw, target, reduction="none")
    expected = banal_mean(each.numpy(), [4], 2.0)
    assert weighted(raw, weighted.image(raw), target).item() == pytest.approx(expected, rel=1e-5)
