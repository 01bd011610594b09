"""Measuring real CT, some of which has to be refused, by the command that users take."""

import csv
import json

import pytest

from tests.cli._run import call

REFUSED = (
    "head_phantom_oblique_not_hu.nii.gz",
    "head_phantom_sheared.nii.gz",
    "refuse_no_orientation_bigendian.nii.gz",
    "refuse_rgb_map.nii.gz",
)


@pytest.mark.slow
def test_each_real_case_has_rows_or_a_stated_refusal(real_data, model_folder, tmp_path):
    files = sorted((real_data / "nifti").glob("*.nii.gz"))
    out = tmp_path / "out"
    code, text = call(
        "evaluate",
        model_folder,
        *files,
        real_data / "dicom" / "abdomen_512",
        *("-o", out, "--metrics", "errors", "--window", "soft_tissue"),
        *("--no-panels", "--no-report"),
    )
    assert code == 8, text
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    refused = {failure["case"].rsplit("/", 1)[1] for failure in failures}
    assert refused == set(REFUSED)
    assert all(failure["cause"] and failure["hint"] for failure in failures)
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    measured = {row["case"] for row in rows if row["what"] == "reconstruction"}
    assert len(measured) + len(failures) == len(files) + 1
    assert len(measured) >= 3
    # The series comes last.
    assert f"case_{len(files) + 1:04d}" in measured
    # Weights are random, so that errors are large, and finite all the same.
    assert all(float(row["mae"]) < 5000 for row in rows if int(row["n"]))
    for file in out.glob("*.[cj]s*"):
        if file.name != "failures.jsonl":
            assert str(real_data) not in file.read_text()
