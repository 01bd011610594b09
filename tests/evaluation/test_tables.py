import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.evaluation.tables import summarize, write_csv
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


def test_the_summary_has_quartiles_over_cases(rows):
    summary = summarize(rows)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["cases"] == 6
    group = summary["groups"][0]
    members = [r for r in rows if (r.what, r.window, r.mask) == ("reconstruction", "full", "body")]
    assert (group["window"], group["mask"], group["cases"]) == ("full", "body", 5)
    assert group["rmse"]["median"] == np.median([r.rmse for r in members])
    assert group["rmse"]["q25"] == np.quantile([r.rmse for r in members], 0.25)
    assert group["rmse"]["q75"] == np.quantile([r.rmse for r in members], 0.75)
    assert group["data_range"] == 4024


def test_undefined_values_are_null(rows):
    copy = next(g for g in summarize(rows)["groups"] if g["what"] == "copy")
    assert set(copy["psnr"]) == {"median", "q25", "q75", "low95", "high95", "coverage", "n"}
    assert copy["psnr"]["n"] == 0
    assert all(value is None for name, value in copy["psnr"].items() if name != "n")
    assert copy["rmse"]["median"] == 0


def test_no_rows_make_an_empty_summary():
    assert summarize([]) == {"cases": 0, "patients": 0, "groups": []}


def test_cases_of_one_patient_count_as_one(rows):
    alone = summarize(rows)
    # Cases 0 to 2 are of one patient.
    patients = {f"case {n}": "one" for n in range(3)}
    group = summarize(rows, patients)["groups"][0]
    members = {
        r.case: r.rmse
        for r in rows
        if (r.what, r.window, r.mask) == ("reconstruction", "full", "body")
    }
    first = np.mean([members[f"case {n}"] for n in range(3)])
    values = [first, members["case 3"], members["case 4"]]
    assert summarize(rows, patients)["patients"] == alone["patients"] - 2
    assert (group["cases"], group["rmse"]["n"]) == (5, 3)
    assert group["rmse"]["median"] == pytest.approx(np.median(values))
    # Three patients have no interval, and their quartiles are interpolated.
    assert group["rmse"]["low95"] is group["rmse"]["high95"] is group["rmse"]["coverage"] is None
    assert group["rmse"]["q25"] == pytest.approx(np.quantile(values, 0.25))


def test_one_case_has_no_quartiles_and_six_have_an_interval(rows):
    one = [row for row in rows if row.case == "case 0"]
    spread = summarize(one)["groups"][0]["rmse"]
    assert spread["median"] == one[0].rmse
    assert {name for name, value in spread.items() if value is None} == {
        "q25", "q75", "low95", "high95", "coverage",
    }  # fmt: skip
    six = [replace(row, case=f"c{n}", rmse=float(n)) for n, row in enumerate([one[0]] * 6)]
    spread = summarize(six)["groups"][0]["rmse"]
    assert (spread["low95"], spread["high95"], spread["coverage"]) == (0, 5, 0.96875)


def test_the_worst_five_are_named(rows):
    more = [r for n in range(7) for r in rows if r.case == "case 0" and r.what != "copy"]
    renamed = [
        replace(row, case=f"c{place}", rmse=float(place % 5)) for place, row in enumerate(more)
    ]
    group = summarize(renamed)["groups"][0]
    worst = [each["rmse"] for each in group["worst"]]
    assert len(worst) == 5
    assert worst == sorted(worst, reverse=True)
    assert worst[0] == max(r.rmse for r in renamed if (r.window, r.mask) == ("full", "body"))


def test_more_metrics_have_columns_and_spreads(rows, tmp_path):
    told = [replace(rows[0], more={"ssim": 0.5}), replace(rows[1], more={}), rows[2]]
    write_csv(told, tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert [line["ssim"] for line in csv.DictReader(file)] == ["0.5", "", ""]
    assert summarize(told)["groups"][0]["ssim"]["median"] == 0.5
