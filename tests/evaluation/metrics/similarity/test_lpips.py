import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.evaluation.measure import Plan, measure_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.metrics.similarity.lpips import load_network, lpips_distance
from ct_vae.evaluation.settings import build_settings
from ct_vae.evaluation.windows import Window
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.masks import everything
from tests.evaluation._cases import noisy, random_volume
from tests.losses._vgg import random_vgg16, torchvision_state

WINDOW = Window("w", 2000, 0)


@pytest.fixture(scope="module")
def network():
    return random_vgg16()


@pytest.fixture(scope="module")
def pair():
    volume = random_volume(shape=(17, 16, 6))
    return Pair(volume, noisy(volume, hu=300))


def test_it_is_the_mean_over_axial_slices(network, pair):
    """Slices are as many images; the volume has 6, which are not a multiple of the batch."""
    each = []
    for k in range(6):
        a, b = (
            torch.from_numpy(v.voxels[None, None, :, :, k].astype(np.float32).clip(-1000, 1000))
            for v in (pair.reference, pair.reconstruction)
        )
        each.append(float(PerceptualDistance(network, (-1000, 1000), 1.0)(a, b, 0)))
    assert lpips_distance(pair, WINDOW, network) == pytest.approx(np.mean(each), rel=1e-4)


def test_equal_volumes_have_no_distance_and_thin_slices_none(network, pair):
    assert lpips_distance(Pair(pair.reference, pair.reference), WINDOW, network) == 0
    thin = random_volume(shape=(15, 16, 4))
    assert lpips_distance(Pair(thin, thin), WINDOW, network) is None


def test_weights_come_from_a_local_file(network, pair, tmp_path):
    path = tmp_path / "vgg16.pt"
    torch.save(torchvision_state(network), path)
    settings = build_settings(windows="w:2000/0", metrics="errors", lpips_weights=path)
    rows = measure_pair(pair, settings.plan, [everything(pair.reference)], ("a", "b"))
    assert rows[0].more["lpips"] == pytest.approx(lpips_distance(pair, WINDOW, network))
    assert Plan().lpips_weights is None
    with pytest.raises(ConfigError, match=r"LPIPS: .*no such file"):
        load_network(tmp_path / "absent.pt")
