import numpy as np
import pytest
from scipy import ndimage

from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.metrics.similarity.ms_ssim import WEIGHTS, multi_scale_ssim, scales_of
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.masks import Mask, everything
from tests.evaluation._cases import noisy, random_volume


def banal(pair, window, mask, scales, everywhere):
    """Whole volumes, one map after the other."""
    a, b = (
        v.voxels.astype(float).clip(window.low, window.high) - window.low
        for v in (pair.reference, pair.reconstruction)
    )
    c1, c2 = (0.01 * window.width) ** 2, (0.03 * window.width) ** 2
    inside, value = mask.astype(float), 1.0
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])

    def smooth(array):
        return ndimage.gaussian_filter(array, 1.5, radius=5)

    def half(array):
        x, y, z = (n // 2 * 2 for n in array.shape)
        parts = [array[i:x:2, j:y:2, k:z:2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        return sum(parts) / 8

    for scale, weight in enumerate(weights):
        m, n = smooth(a), smooth(b)
        structure = (2 * (smooth(a * b) - m * n) + c2) / (
            smooth(a * a) - m * m + smooth(b * b) - n * n + c2
        )
        if everywhere or scale == scales - 1:
            structure = structure * (2 * m * n + c1) / (m * m + n * n + c1)
        value *= structure[inside > 0].mean() ** weight
        a, b, inside = half(a), half(b), (half(inside) >= 0.5).astype(float)
    return value


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("window", ["full", "lung"])
def test_it_is_what_the_banal_reference_gives(everywhere, window):
    volume = random_volume(1, (45, 46, 47))
    pair = Pair(volume, noisy(volume, hu=700))
    masks = [
        everything(volume),
        Mask("half", np.indices((45, 46, 47))[0] < 20),
        Mask("some", np.random.default_rng(0).random((45, 46, 47)) < 0.6),
    ]
    found = multi_scale_ssim(
        pair, WINDOWS[window], masks, scales=3, luminance_everywhere=everywhere
    )
    expected = [banal(pair, WINDOWS[window], m.voxels, 3, everywhere) for m in masks]
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("side", "scales"), [(10, 0), (11, 1), (21, 1), (22, 2), (44, 3), (88, 4), (176, 5), (999, 5)]
)
def test_scales_are_as_many_as_the_shortest_side_allows(side, scales):
    assert scales_of((999, side, 999)) == scales


def test_equal_volumes_have_one_and_empty_masks_none():
    volume = random_volume(1, (22, 22, 22))
    nothing = Mask("nothing", np.zeros((22, 22, 22), bool))
    found = multi_scale_ssim(
        Pair(volume, volume), WINDOWS["full"], [everything(volume), nothing], scales=2
    )
    assert found[0] == pytest.approx(1, abs=1e-12)
    assert found[1] is None
