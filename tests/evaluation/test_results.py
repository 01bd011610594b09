import contextlib
import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from ct_vae.errors import ConfigError, OutputError
from ct_vae.evaluation import results as module
from ct_vae.evaluation.measure import Plan, measure_pair
from ct_vae.evaluation.metrics.given_masks import GivenMasks, name_masks
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.results import Results
from ct_vae.evaluation.settings import Settings
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.io import ReadOptions, write_volume
from ct_vae.masks import Mask, everything
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.evaluation._cases import noisy

CHEAP = Settings(Plan((WINDOWS["full"],), (), ("errors",)), panels=False, report=False)
SHAPE = (10, 9, 8)


def add(results, name, seed=0, masks=None, **more):
    original = ct_volume(SHAPE, seed=seed)
    pair = (original, noisy(original, hu=1 + 10 * seed))
    masks = masks or results.masks(original, "a", ReadOptions())
    rows = measure_pair(Pair(*pair), results.settings.plan, masks, (name, "reconstruction"))
    results.add(name, pair, masks, rows, **more)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_case_is_on_disk_before_the_next_one_begins(tmp_path):
    results = Results(tmp_path, CHEAP, {"command": "test"})
    for place in range(3):
        add(results, f"case_{place}", place, line={"seconds": place}, patient="P" if place else "")
        assert {row["case"] for row in table(tmp_path / "metrics.csv")} == {
            f"case_{k}" for k in range(place + 1)
        }
        assert [row["seconds"] for row in table(tmp_path / "cases.csv")] == [
            str(k) for k in range(place + 1)
        ]
    assert (tmp_path / "summary.json").is_file()
    results.finish({"edges": []})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["cases"], summary["patients"]) == (3, 2)
    protocol = json.loads((tmp_path / "protocol.json").read_text())
    assert protocol["command"] == "test"
    assert list(protocol["cases"]) == ["case_0", "case_1", "case_2"]
    assert list(protocol["masks"]) == ["body", "field_of_view", "in_window"]
    assert json.loads((tmp_path / "probe.json").read_text()) == {"edges": []}


def test_the_work_on_summaries_does_not_grow_with_the_square_of_the_cases(tmp_path, monkeypatch):
    now, summaries = [0.0], []

    def slow(rows, patients):
        # As intervals over ever more cases are.
        summaries.append(len(patients))
        now[0] += len(patients)
        return {}

    monkeypatch.setattr(module, "summarize", slow)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    results = Results(tmp_path, CHEAP, {"command": "test"})
    for place in range(40):
        add(results, f"case_{place:02d}")
        now[0] += 10
    assert sum(summaries) <= 40 * 10 / 20 + 40
    results.finish()
    assert summaries[-1] == 40


@pytest.mark.parametrize("error", [ConfigError("no memory"), KeyboardInterrupt(), None])
def test_summaries_are_of_all_cases_however_the_work_ends(tmp_path, monkeypatch, error):
    monkeypatch.setattr(module, "_SUMMARY_PAUSE", 1e9)
    results = Results(tmp_path, CHEAP, {"command": "test"})
    with contextlib.suppress(ConfigError, KeyboardInterrupt), results.collecting():
        for place in range(3):
            add(results, f"case_{place}", place)
        if error:
            raise error
    assert json.loads((tmp_path / "summary.json").read_text())["cases"] == 3
    assert len(json.loads((tmp_path / "protocol.json").read_text())["cases"]) == 3


def test_what_ended_the_work_is_told_and_not_what_its_end_met(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SUMMARY_PAUSE", 1e9)
    results = Results(tmp_path, CHEAP, {"command": "test"})

    def full(path, tree):
        raise OutputError(f"{path}: no space left")

    def work(error=None):
        with results.collecting():
            add(results, "case_1")
            add(results, "case_2")
            monkeypatch.setattr(module, "write_json", full)
            if error:
                raise error

    with pytest.raises(ConfigError, match="no memory"):
        work(ConfigError("no memory"))
    with pytest.raises(OutputError, match="no space left"), results.collecting():
        pass


def test_what_an_earlier_evaluation_left_is_removed_and_nothing_else(tmp_path):
    for name in (
        "metrics.csv",
        "report.html",
        "case_0007.png",
        "case_0007_body.nii.gz",
        "mine.csv",
    ):
        (tmp_path / name).touch()
    Results(tmp_path, CHEAP, {})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


@pytest.mark.parametrize(
    ("masking", "names"),
    [("clinical", ["body", "field_of_view"]), ("body", ["body"]), ("all", ["all"])],
)
def test_masks_found_come_before_masks_given(tmp_path, masking, names):
    original = ct_volume(SHAPE)
    write_volume(Volume((original.voxels > 0).astype(np.int16), original.grid), tmp_path / "m.nii")
    given = GivenMasks(name_masks([str(tmp_path / "m.nii")]))
    settings = replace(CHEAP, masking=masking, given=given)
    found = Results(tmp_path / "out", settings, {}).masks(original, "a", ReadOptions())
    assert [mask.name for mask in found] == [*names, "mask_1"]
    np.testing.assert_array_equal(found[-1].voxels, original.voxels > 0)


def test_masks_are_kept_on_request(tmp_path):
    results = Results(tmp_path, replace(CHEAP, write_masks=True), {})
    add(results, "case_0001")
    kept = {path.name for path in tmp_path.glob("*.nii.gz")}
    assert kept == {"case_0001_body.nii.gz", "case_0001_field_of_view.nii.gz"}


def test_the_report_tells_where_and_what_was_unusual(tmp_path):
    results = Results(tmp_path, replace(CHEAP, report=True), {"name": "<model>"})
    whole = np.ones(SHAPE, bool)
    add(results, "case_0001", 0, [Mask("liver", whole, "few voxels")], notes=["no JPEG 2000"])
    add(results, "case_0002", 1, [everything(ct_volume(SHAPE))])
    assert not (tmp_path / "report.html").exists()
    results.finish()
    page = (tmp_path / "report.html").read_text()
    assert "HU in the mask liver, largest" in page
    assert "HU in the whole volume, largest" in page
    assert "HU in the body" not in page
    for note in ("few voxels", "no JPEG 2000", "noise spectrum: 0 flat regions", "&lt;model&gt;"):
        assert note in page


@pytest.mark.parametrize("name", ["write_panel", "HtmlReport.add_case", "HtmlReport.write"])
def test_a_picture_or_report_that_fails_costs_no_figures(tmp_path, monkeypatch, name):
    def fail(*args, **options):
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setattr(f"{module.__name__}.{name}", fail)
    panels = name == "write_panel"
    results = Results(tmp_path, replace(CHEAP, panels=panels, report=True), {})
    for place in range(7):
        add(results, f"case_{place}")
    with pytest.raises(OutputError) as error:
        results.finish()
    told = str(error.value)
    assert "\n" not in told
    assert r"float division\nby zero" in told
    assert ("no report" if name.endswith("write") else "case_4") in told
    assert ("and 2 more" in told) == (not name.endswith("write"))
    assert len(table(tmp_path / "metrics.csv")) == 7 * 3
    assert json.loads((tmp_path / "summary.json").read_text())["cases"] == 7
    assert (tmp_path / "report.html").exists() == (not name.endswith("write"))
