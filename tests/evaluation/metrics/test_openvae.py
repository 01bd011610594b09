import numpy as np
import pytest
from skimage.metrics import structural_similarity

from ct_vae.evaluation.measure import measure_pair
from ct_vae.evaluation.metrics.openvae import openvae_scores
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.protocols import PROTOCOLS
from ct_vae.evaluation.windows import Window
from ct_vae.masks import everything
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume

WINDOW = Window("openvae", 2000, 0)


def banal(pair):
    """The benchmark's definitions, on whole arrays in [0, 1]."""
    volumes = (pair.reference, pair.reconstruction)
    a, b = ((v.voxels.astype(float).clip(-1000, 1000) + 1000) / 2000 for v in volumes)
    steep = [np.sqrt(sum(g**2 for g in np.gradient(x))) for x in (a, b)]
    return {
        "mae_100": 100 * (1 - np.abs(a - b).mean()),
        "detail_100": 100 * np.corrcoef(steep[0].ravel(), steep[1].ravel())[0, 1],
        "ssim_uniform": structural_similarity(a, b, data_range=1),
    }


@pytest.mark.parametrize("slab_voxels", [300, 10**7])
def test_scores_are_those_of_the_definitions(slab_voxels):
    volume = make_phantom("thorax", 0, (10.0, 12.0, 15.0), (33, 25, 18))
    pair = Pair(volume, noisy(volume, hu=150))
    found = openvae_scores(pair, WINDOW, slab_voxels=slab_voxels)
    assert found == pytest.approx(banal(pair), rel=1e-9)


def test_unrelated_noise_has_no_detail_and_equal_volumes_all_of_it():
    volume = random_volume(0, (12, 11, 10))
    equal = openvae_scores(Pair(volume, volume), WINDOW)
    assert equal == pytest.approx({"mae_100": 100, "detail_100": 100, "ssim_uniform": 1})
    # The sign of a correlation is that of chance; it is not below 0.
    other = openvae_scores(Pair(volume, random_volume(5, (12, 11, 10))), WINDOW)
    assert 0 <= other["detail_100"] < 15


def test_what_is_not_defined_is_none():
    volume = random_volume(0, (12, 11, 6))
    flat = Volume(np.zeros_like(volume.voxels), volume.grid)
    found = openvae_scores(Pair(volume, flat), WINDOW)
    assert found["detail_100"] is None
    assert found["ssim_uniform"] is None


def test_the_protocol_has_all_scores_in_one_row():
    volume = random_volume(0, (12, 11, 10))
    pair = Pair(volume, noisy(volume, hu=150))
    protocol = PROTOCOLS["openvae"]
    (row,) = measure_pair(pair, protocol.plan, [everything(volume)], ("a", "b"))
    assert (protocol.masking, row.data_range) == ("all", 2000)
    assert dict(row.more) == pytest.approx(banal(pair))
    a, b = (v.voxels.astype(float).clip(-1000, 1000) / 2000 for v in (volume, pair.reconstruction))
    assert row.psnr == pytest.approx(-10 * np.log10(np.square(a - b).mean()))
