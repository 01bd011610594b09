import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.metrics import CumulativeIterationMetric, PSNRMetric
from skimage.metrics import structural_similarity

from ct_vae.errors import InputError
from ct_vae.evaluation import monai_metrics
from ct_vae.evaluation.measure import Plan, measure_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.masks import everything
from tests.evaluation._cases import noisy, random_volume

NAMES = {
    "HounsfieldMAE": "mae",
    "HounsfieldRMSE": "rmse",
    "HounsfieldBias": "bias",
    "WindowedPSNR": "psnr",
    "WindowedSSIM": "ssim",
}


@pytest.fixture(scope="module")
def pairs():
    originals = [random_volume(seed, (16, 17, 18)) for seed in (1, 2)]
    return [Pair(volume, noisy(volume, hu=200)) for volume in originals]


@pytest.mark.parametrize("hu_range", [None, (-1000.0, 1000.0)])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_the_tables(pairs, name, hu_range):
    window = WINDOWS["soft_tissue"]
    plan = Plan((window,), (window,), ("errors", "ssim"), False)
    rows = [measure_pair(p, plan, [everything(p.reference)], ("a", "b"))[0] for p in pairs]
    expected = np.mean([row.numbers()[NAMES[name]] for row in rows])
    low, high = hu_range or (0.0, 1.0)
    y_pred, y = (
        torch.stack([torch.from_numpy(getattr(p, side).voxels.astype(float))[None] for p in pairs])
        for side in ("reconstruction", "reference")
    )
    target = f"ct_vae.evaluation.monai_metrics.{name}"
    settings = {"_target_": target, "window": "soft_tissue", "hu_range": hu_range}
    metric = ConfigParser({"metric": settings}).get_parsed_content("metric")
    assert isinstance(metric, CumulativeIterationMetric)
    for n in range(2):
        metric(
            y_pred=(y_pred[n : n + 1] - low) / (high - low), y=(y[n : n + 1] - low) / (high - low)
        )
    single = metric.aggregate("none")
    assert single.shape == (2, 1)
    assert single.mean().item() == pytest.approx(expected, rel=1e-9)
    # MONAI's reductions are in float32.
    assert metric.aggregate().item() == pytest.approx(expected, rel=1e-6)
    metric.reset()
    with pytest.raises(InputError, match="no image"):
        metric.aggregate()


def test_psnr_agrees_with_monai_and_leaves_perfect_images_out():
    y = torch.rand(3, 1, 20, 20)
    y_pred = y + 0.1 * torch.rand(3, 1, 20, 20)
    ours = monai_metrics.WindowedPSNR("maisi:2000/0", (-1000, 1000), get_not_nans=True)
    ours(y_pred=y_pred.clamp(0, 1), y=y)
    theirs = PSNRMetric(max_val=1.0)(y_pred.clamp(0, 1), y).mean()
    found, counted = ours.aggregate()
    assert found.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours(y_pred=y, y=y)
    found, counted = ours.aggregate()
    assert counted.item() == 3
    assert found.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_images_are_slices():
    y = torch.rand(1, 1, 24, 24, dtype=torch.float64)
    y_pred = y + 0.05 * torch.rand_like(y)
    value = monai_metrics.WindowedSSIM("maisi:2000/0", (-1000, 1000))(y_pred=y_pred, y=y)
    _, full = structural_similarity(
        y[0, 0].numpy(),
        y_pred[0, 0].clamp(0, 1).numpy(),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert value.item() == pytest.approx(full.mean(), rel=1e-9)


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"\(1, 1, 4, 4\)"):
        monai_metrics.HounsfieldMAE()(y_pred=torch.zeros(1, 1, 4, 4), y=torch.zeros(1, 1, 4, 5))
