import pytest

from ct_vae.evaluation.report.case import ReportCase
from ct_vae.masks import Mask
from tests.evaluation._cases import random_volume


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "the whole volume"),
        ("all", "the whole volume"),
        ("body", "the body"),
        ("lung", "the mask lung"),
    ],
)
def test_the_region_of_errors_is_described(name, words):
    volume = random_volume()
    body = None if name is None else Mask(name, volume.voxels > 0)
    assert ReportCase("case", volume, volume, [], body).where == words
