import numpy as np
import pytest

from ct_vae.evaluation.metrics.bland_altman import region_agreement
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.masks import Mask, everything
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume, volume_of


def test_regions_are_blocks_that_lie_in_the_mask():
    volume = volume_of(random_volume(1, (21, 17, 11)).voxels, (2.0, 4.0, 5.0))
    other = Volume(noisy(volume).voxels, volume.grid)
    inside = np.ones(volume.grid.shape, bool)
    inside[0, 0, 0] = False
    found = region_agreement(Pair(volume, other), Mask("body", inside), 20.0)
    pairs = [
        tuple(v.voxels[10 * i :, 5 * j :, 4 * k :][:10, :5, :4].mean() for v in (volume, other))
        for i in range(2)
        for j in range(3)
        for k in range(2)
        if (i, j, k) != (0, 0, 0)
    ]
    assert found.regions == 11
    told = sorted(zip(found.originals, found.reconstructions, strict=True))
    np.testing.assert_allclose(told, sorted(pairs), rtol=1e-12)
    apart = np.array([b - a for a, b in pairs])
    assert found.bias == pytest.approx(apart.mean())
    spread = 1.96 * apart.std(ddof=1)
    assert found.limits == pytest.approx((apart.mean() - spread, apart.mean() + spread))


def test_too_few_regions_have_no_limits():
    small = volume_of(np.zeros((5, 5, 5), np.int16), (1.0, 1.0, 1.0))
    none = region_agreement(Pair(small, small), everything(small))
    assert (none.regions, none.bias, none.limits) == (0, None, None)
    one = region_agreement(Pair(small, small), everything(small), 5.0)
    assert (one.regions, one.bias, one.limits) == (1, 0, None)
