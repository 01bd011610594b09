import csv
import json

import numpy as np
import pytest

from ct_vae.errors import NoInputError
from ct_vae.evaluation.metrics.given_masks import GivenMasks
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.organs.results import OrganResults
from ct_vae.io import ReadOptions, write_volume
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume


@pytest.fixture
def given(tmp_path):
    """Label maps of three cases: the reconstruction loses more of the organ from case to case."""
    original = random_volume()
    for number in range(3):
        labels = np.zeros(original.voxels.shape, np.int16)
        labels[2:7] = 3
        for side in ("original", "reconstruction"):
            path = tmp_path / side / f"{number}.nii.gz"
            write_volume(Volume(labels.copy(), original.grid), path)
            labels[2 : 3 + number] = 0
    return GivenMasks(
        labels=tmp_path / "original",
        names=((3, "liver"),),
        reconstruction_labels=tmp_path / "reconstruction",
    )


def test_the_table_grows_by_case_and_the_summary_has_medians(given, tmp_path):
    results = OrganResults(tmp_path, given, ReadOptions())
    pair = Pair(random_volume(), noisy(random_volume()))
    for number in range(3):
        results.add(f"case_{number}", str(number), pair)
        with (tmp_path / "organs.csv").open(newline="") as file:
            assert [row["case"] for row in csv.DictReader(file)] == [
                f"case_{k}" for k in range(number + 1)
            ]
    (organ,) = results.summary()
    assert (organ["organ"], organ["cases"]) == ("liver", 3)
    # The second of 8/9, 6/8 and 4/7.
    assert organ["dice"] == pytest.approx(6 / 8)
    json.dumps(organ, allow_nan=False)
    with pytest.raises(NoInputError):
        results.add("case_3", "3", pair)


def test_without_label_maps_there_is_no_table(tmp_path):
    results = OrganResults(tmp_path, GivenMasks(), ReadOptions())
    results.add("case", "a", Pair(random_volume(), random_volume()))
    assert results.summary() == []
    assert not (tmp_path / "organs.csv").exists()
