import numpy as np
import pytest

from ct_vae.evaluation.metrics.linearity import linearities
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.masks import Mask, everything
from tests.evaluation._cases import noisy, random_volume, volume_of


@pytest.mark.parametrize("window", ["full", "soft_tissue"])
def test_the_line_is_that_of_a_plain_fit(window):
    volume = random_volume(1, (20, 21, 22))
    bent = volume_of((0.8 * noisy(volume).voxels + 30).astype(np.float32))
    mask = Mask("some", np.random.default_rng(0).random((20, 21, 22)) < 0.5)
    limits = WINDOWS[window]
    (found,) = linearities(Pair(volume, bent), limits, [mask], slab_voxels=1000)
    x = volume.voxels.astype(float)
    where = mask.voxels & (x >= limits.low) & (x <= limits.high)
    slope, intercept = np.polyfit(x[where], bent.voxels[where], 1)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=1e-6, abs=1e-4)


def test_a_constant_has_no_line():
    flat = volume_of(np.full((5, 5, 5), 37, np.int16))
    assert linearities(Pair(flat, flat), WINDOWS["full"], [everything(flat)]) == [None]
