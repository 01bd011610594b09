import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance

from ct_vae.evaluation.organs.agreement import hausdorff95_mm, organ_agreements
from ct_vae.volume import Volume
from tests.evaluation._cases import volume_of

SPACING = (1.5, 2.0, 3.0)


def ball(center, radius, shape=(24, 20, 16)):
    at = np.indices(shape) - np.array(center)[:, None, None, None]
    return (at**2).sum(0) <= radius**2


# MONAI warns about an argument of its own.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize(
    ("one", "two"),
    [
        (ball((12, 10, 8), 6), ball((13, 10, 8), 5)),
        (ball((5, 5, 5), 3), ball((17, 14, 9), 4)),
        (ball((12, 10, 8), 4) | ball((3, 3, 3), 2), ball((12, 10, 8), 4)),
    ],
)
def test_the_hausdorff_distance_is_that_of_monai(one, two):
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (one, two)]
    expected = compute_hausdorff_distance(
        *tensors, include_background=True, percentile=95, spacing=SPACING
    )
    found = hausdorff95_mm(one, two, SPACING)
    assert found == pytest.approx(float(expected), rel=1e-6)
    assert found == hausdorff95_mm(two, one, SPACING)


def test_a_shift_is_the_distance_and_equal_masks_have_none():
    one = np.zeros((20, 10, 10), bool)
    one[4:8, 2:8, 2:8] = True
    assert hausdorff95_mm(one, np.roll(one, 3, axis=0), SPACING) == 4.5
    assert hausdorff95_mm(one, one, SPACING) == 0
    assert hausdorff95_mm(one, np.zeros_like(one), SPACING) is None


def test_each_label_has_its_overlap_volume_and_mean():
    labels = np.zeros((10, 10, 10), np.int16)
    labels[:4], labels[6:] = 1, 7
    result = labels.copy()
    result[3] = 0
    result[9, 9, 9] = 2
    hu = volume_of(np.where(labels == 1, 60, -40).astype(np.int16), SPACING)
    worse = Volume(hu.voxels + np.int16(5), hu.grid)
    maps = volume_of(labels, SPACING), volume_of(result, SPACING)
    one, two, seven = organ_agreements((hu, worse), maps, {1: "liver"})
    assert (one.organ, two.organ, seven.organ) == ("liver", "label_2", "label_7")
    assert one.dice == pytest.approx(2 * 300 / 700)
    assert (one.volume_ml, one.volume_ml_reconstruction) == pytest.approx((3.6, 2.7))
    assert (one.mean_hu, one.mean_hu_reconstruction) == (60, 65)
    assert one.hd95_mm == 1.5
    assert (two.dice, two.hd95_mm, two.mean_hu) == (0, None, None)
    assert two.mean_hu_reconstruction == -35
