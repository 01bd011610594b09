import csv
import json

import numpy as np
import pytest

from ct_vae.evaluation.metrics import evaluate_pair
from ct_vae.evaluation.tables import summarise, write_csv, write_summary
from tests._asserts import assert_only_files
from tests.evaluation._cases import noisy, random_volume


@pytest.fixture
def rows():
    volumes = {f"case {n}": random_volume(n) for n in range(5)}
    rows = [r for name, v in volumes.items() for r in evaluate_pair(v, noisy(v), case=name)]
    return rows + evaluate_pair(volumes["case 0"], volumes["case 0"], case="same", what="copy")


def test_the_table_holds_every_row(rows, tmp_path):
    write_csv(rows, tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows)
    for line, row in zip(table, rows, strict=True):
        assert (line["case"], line["what"], line["mask"]) == (row.case, row.what, row.mask)
        assert float(line["rmse"]) == row.rmse
        assert line["psnr"] == ("" if row.psnr is None else repr(row.psnr))
    assert_only_files(tmp_path, {"metrics.csv"})


def test_the_summary_has_quartiles_over_cases(rows, tmp_path):
    write_summary(rows, tmp_path / "summary.json")
    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary == summarise(rows)
    assert summary["cases"] == 6
    group = summary["groups"][0]
    members = [r for r in rows if (r.what, r.window, r.mask) == ("reconstruction", "full", "body")]
    assert (group["window"], group["mask"], group["cases"]) == ("full", "body", 5)
    assert group["rmse"]["median"] == np.median([r.rmse for r in members])
    assert group["rmse"]["q25"] == np.quantile([r.rmse for r in members], 0.25)
    assert group["rmse"]["q75"] == np.quantile([r.rmse for r in members], 0.75)
    assert group["data_range"] == 4024


def test_undefined_values_are_null(rows):
    copy = next(g for g in summarise(rows)["groups"] if g["what"] == "copy")
    assert copy["psnr"] == {"median": None, "q25": None, "q75": None, "n": 0}
    assert copy["rmse"]["median"] == 0


def test_no_rows_make_an_empty_summary():
    assert summarise([]) == {"cases": 0, "groups": []}
