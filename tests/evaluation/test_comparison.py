import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.comparison import Comparison
from ct_vae.evaluation.measure import Plan
from ct_vae.evaluation.settings import Settings
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.find_volumes.cases import Case
from ct_vae.io import ReadOptions, write_volume
from tests._small import ct_volume
from tests.evaluation._cases import noisy

CHEAP = Settings(Plan((WINDOWS["full"],), (), ("errors",)), panels=False, report=False)


@pytest.fixture
def partners(tmp_path):
    """Two originals, the reconstruction of the first without error, that of the second noisy."""
    pairs = {}
    for name, noise in (("a", 0), ("b", 40)):
        original = ct_volume(seed=ord(name))
        for folder, volume in (("in", original), ("out", noisy(original, hu=noise))):
            write_volume(volume, tmp_path / folder / f"{name}.nii.gz")
        pairs[Case(tmp_path / "in" / f"{name}.nii.gz", name)] = Case(
            tmp_path / "out" / f"{name}.nii.gz", name
        )
    return pairs


def rows(folder: Path):
    with (folder / "metrics.csv").open(newline="") as file:
        return {row["case"]: float(row["rmse"]) for row in csv.DictReader(file)}


def test_every_pair_is_measured_and_named_without_its_path(partners, tmp_path):
    comparison = Comparison(partners, tmp_path / "r", CHEAP, ReadOptions(), report=print)
    lines = [comparison.work(case) for case in partners]
    comparison.finish()
    found = rows(tmp_path / "r")
    assert found["case_0001"] == 0
    assert 10 < found["case_0002"] < 40
    assert [line.split(" are ")[1] for line in lines] == ["case_0001", "case_0002"]
    protocol = json.loads((tmp_path / "r" / "protocol.json").read_text())
    assert protocol["command"] == "compare"
    assert str(tmp_path) not in (tmp_path / "r" / "metrics.csv").read_text()


def test_a_reconstruction_that_does_not_look_like_ct_is_measured_with_a_warning(partners, tmp_path):
    case, partner = next(iter(partners.items()))
    volume = partner.read()
    write_volume(replace(volume, voxels=(volume.voxels // 4000).astype("int16")), partner.path)
    lines = []
    comparison = Comparison(
        {case: partner}, tmp_path / "r", CHEAP, ReadOptions(), None, lines.append
    )
    comparison.work(case)
    comparison.finish()
    assert rows(tmp_path / "r")["case_0001"] > 40
    assert lines[0].startswith(f"warning: {partner.path}: ")
    assert "1 reconstruction(s) may not be in HU" in lines[-1]


def test_other_grids_are_refused(partners, tmp_path):
    case, partner = next(iter(partners.items()))
    write_volume(ct_volume((5, 6, 7)), partner.path)
    comparison = Comparison({case: partner}, tmp_path / "r", CHEAP, ReadOptions(), report=print)
    with pytest.raises(InputError):
        comparison.work(case)


def test_a_size_is_for_rate_distortion_curves(partners, tmp_path):
    with pytest.raises(ConfigError, match="used by --rate-distortion only"):
        Comparison(partners, tmp_path / "r", CHEAP, ReadOptions(), 0.5)
