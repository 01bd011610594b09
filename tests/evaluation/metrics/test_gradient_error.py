import numpy as np
import pytest

from ct_vae.evaluation.metrics.gradient_error import gradient_errors
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.masks import Mask, everything
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume, volume_of


def steep(volume, window):
    hu = volume.voxels.astype(float).clip(window.low, window.high)
    return np.sqrt(sum(g**2 for g in np.gradient(hu, *volume.grid.spacing_mm)))


@pytest.mark.parametrize("slab_voxels", [1, 500, 10**6])
def test_it_is_what_whole_volumes_give(slab_voxels):
    volume = volume_of(random_volume(2).voxels, (0.7, 1.5, 3.0))
    other = Volume(noisy(volume).voxels, volume.grid)
    mask = Mask("some", np.random.default_rng(0).random(volume.grid.shape) < 0.5)
    (found,) = gradient_errors(
        Pair(volume, other), WINDOWS["bone"], [mask], slab_voxels=slab_voxels
    )
    a, b = (steep(v, WINDOWS["bone"])[mask.voxels] for v in (volume, other))
    assert found.mae == pytest.approx(np.abs(a - b).mean(), rel=1e-12)
    assert found.ratio == pytest.approx(b.mean() / a.mean(), rel=1e-12)


def test_flat_originals_empty_masks_and_single_slices():
    flat = volume_of(np.zeros((5, 6, 1), np.int16))
    nothing = Mask("nothing", np.zeros((5, 6, 1), bool))
    found, none = gradient_errors(Pair(flat, flat), WINDOWS["full"], [everything(flat), nothing])
    assert (found.mae, found.ratio, none) == (0, None, None)
