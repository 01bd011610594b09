import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from ct_vae.evaluation.measure import measure_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.protocols import PROTOCOLS
from ct_vae.masks import Mask, everything
from tests.evaluation._cases import noisy, random_volume, volume_of


def test_synthrad_by_hand():
    """Four voxels in the mask: errors after clipping are 10, -20, 0 (both above 3000) and 24."""
    original, result = (np.zeros((4, 4, 4), np.int16) for _ in range(2))
    original[0, 0, :4] = 0, 100, 3500, -2000
    result[0, 0, :4] = 10, 80, 3100, -1000
    result[1:] = 999
    inside = np.zeros((4, 4, 4), bool)
    inside[0, 0, :4] = True
    pair = Pair(volume_of(original), volume_of(result))
    protocol = PROTOCOLS["synthrad"]
    assert protocol.masking == "body"
    (row,) = measure_pair(pair, protocol.plan, [Mask("body", inside)], ("a", "b"))
    assert (row.mask, row.n, row.data_range) == ("body", 4, 4024)
    assert row.mae == pytest.approx((10 + 20 + 0 + 24) / 4)
    assert row.rmse == pytest.approx(math.sqrt((100 + 400 + 576) / 4))
    assert row.psnr == pytest.approx(10 * math.log10(4024**2 / 269))
    # No scale fits into sides of four.
    assert not row.more


def test_synthrad_of_constants_has_the_luminance_of_every_scale():
    shape = (22, 22, 22)
    pair = Pair(volume_of(np.full(shape, 0, np.int16)), volume_of(np.full(shape, 500, np.int16)))
    (row,) = measure_pair(
        pair, PROTOCOLS["synthrad"].plan, [everything(pair.reference)], ("a", "b")
    )
    # Shifted by 1024 the means are 1024 and 1524, and C1 is 40.24 squared.
    luminance = (2 * 1024 * 1524 + 40.24**2) / (1024**2 + 1524**2 + 40.24**2)
    assert row.more == {"ms_ssim_2_scales_with_luminance": pytest.approx(luminance)}
    assert row.psnr == pytest.approx(20 * math.log10(4024 / 500))


def test_maisi_by_hand():
    original = np.zeros((4, 4, 4), np.int16)
    result = original.copy()
    original[0, 0, 0], result[0, 0, 0] = -3000, -900  # 100 HU, 0.05 in its unit
    original[0, 0, 1], result[0, 0, 1] = 1500, 1200  # both are 1
    pair = Pair(volume_of(original), volume_of(result))
    protocol = PROTOCOLS["maisi"]
    assert protocol.masking == "all"
    (row,) = measure_pair(pair, protocol.plan, [everything(pair.reference)], ("a", "b"))
    assert (row.mask, row.n) == ("all", 64)
    assert row.mae / 2000 == pytest.approx(0.05 / 64)
    assert row.psnr == pytest.approx(10 * math.log10(1 / (0.05**2 / 64)))


def test_maisi_is_the_same_in_its_own_unit():
    volume = random_volume(1, (16, 17, 18))
    pair = Pair(volume, noisy(volume, hu=300))
    (row,) = measure_pair(pair, PROTOCOLS["maisi"].plan, [everything(volume)], ("a", "b"))
    both = (pair.reference, pair.reconstruction)
    a, b = ((v.voxels.astype(float).clip(-1000, 1000) + 1000) / 2000 for v in both)
    _, full = structural_similarity(
        a,
        b,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert row.more["ssim"] == pytest.approx(full.mean(), rel=1e-9)
    assert row.psnr == pytest.approx(-10 * math.log10(((a - b) ** 2).mean()), rel=1e-9)
