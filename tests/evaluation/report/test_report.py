import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.evaluation.report import HtmlReport
from ct_vae.evaluation.report import report as module
from ct_vae.volume import Volume
from tests._asserts import assert_only_files
from tests.evaluation._cases import random_volume
from tests.evaluation.report._report import (
    case_of,
    data_of,
    plainly_unpacked,
    texts_of,
    thorax,
    write_report,
)

EVIL = "</script><script>alert('x')</script>&<!--"


class Elements(HTMLParser):
    """Start tags with their attributes, and the elements left open."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(tmp_path):
    page = write_report(tmp_path / "report.html", [case_of(thorax())], model="f8c16")
    elements = Elements(page)
    assert not elements.open
    for tag, attributes in elements.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    policy = next(a["content"] for t, a in elements.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert_only_files(tmp_path, {"report.html"})


def test_the_voxels_in_the_page_are_those_of_the_volume(tmp_path):
    volume = thorax()
    page = write_report(tmp_path / "report.html", [case_of(volume)])
    (shown,) = data_of(page)["cases"]
    text = texts_of(page)[f"hu-0-{shown['volume']['text']}"]
    assert np.array_equal(plainly_unpacked(text), volume.voxels.transpose(2, 1, 0).ravel())


def test_names_cannot_break_out_of_the_page(tmp_path):
    case = case_of(thorax(), EVIL, notes=(EVIL,))
    rows = write_report(
        tmp_path / "report.html",
        [case],
        {EVIL: EVIL, "deep": [{EVIL: EVIL}]},
        {EVIL: 1},
        model=EVIL,
    )
    scripts = [a for t, a in Elements(rows).tags if t == "script"]
    assert [a.get("type", "") for a in scripts if "type" not in a or "json" in a["type"]] == [
        "application/json",
        "",
    ]
    assert "<script>alert" not in rows
    assert data_of(rows)["cases"][0]["name"] == EVIL


def test_the_page_keeps_no_fact_of_the_source(tmp_path):
    volume = thorax()
    volume = Volume(
        volume.voxels,
        volume.grid,
        source={"PatientName": "Quiltmarsh^Jo"},
        warnings=("/home/quiltmarsh",),
    )
    folder = tmp_path / "quiltmarsh"
    folder.mkdir()
    page = write_report(folder / "report.html", [case_of(volume)])
    assert not re.search("quiltmarsh", page, re.IGNORECASE)
    assert str(tmp_path) not in page
    assert re.search("<title>(.*?)</title>", page)[1] == "CT reconstruction report"


def test_cases_come_worst_first(tmp_path):
    cases = [case_of(thorax(), f"blur {s}", sigma=s) for s in (0.5, 2.0, 1.0)]
    page = write_report(tmp_path / "report.html", cases)
    assert re.findall(r"<h3>(.*?) <button", page) == ["blur 2.0", "blur 1.0", "blur 0.5"]
    assert [c["name"] for c in data_of(page)["cases"]] == ["blur 2.0", "blur 1.0", "blur 0.5"]
    row = next(r for r in cases[1].rows if (r.what, r.window) == ("reconstruction", "full"))
    assert f"RMSE {row.rmse:.1f} HU" in page


def test_of_many_cases_only_the_worst_have_voxels_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_VIEWERS", 2)
    monkeypatch.setattr(module, "_PICTURES", 3)
    cases = [case_of(thorax(), f"blur {s}", sigma=s) for s in (0.5, 2.0, 1.0, 1.5)]
    page = write_report(tmp_path / "report.html", cases)
    assert [c["name"] for c in data_of(page)["cases"]] == ["blur 2.0", "blur 1.5"]
    assert {name.split("-")[1] for name in texts_of(page)} == {"0", "1"}
    assert page.count("<img ") == 3
    assert "it holds the 2 worst of 4 cases; 3 have a picture" in page
    assert 'class="word">blur 0.5</th>' in page


def test_the_worst_case_keeps_its_voxels_however_large(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_VIEWER_BYTES", 1)
    cases = [case_of(thorax(), f"blur {s}", sigma=s) for s in (0.5, 2.0)]
    page = write_report(tmp_path / "report.html", cases)
    assert [c["name"] for c in data_of(page)["cases"]] == ["blur 2.0"]


def test_a_case_of_512_x_512_x_100_stays_below_15_mb(tmp_path):
    # Noise of 30 HU everywhere, which compresses worse than patients do.
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 30, (512, 512, 25)).astype(np.int16)
    original = random_volume(shape=(512, 512, 100))
    original.voxels[:] = np.tile(noise, 4)
    result = Volume(np.roll(original.voxels, 1, axis=0), original.grid)
    report = HtmlReport(tmp_path / "report.html")
    report.add_case(module.ReportCase("case_0001", original, result, [], None))
    report.write([], {}, {})
    assert (tmp_path / "report.html").stat().st_size < 15_000_000


def test_volumes_on_other_grids_are_refused():
    report = HtmlReport("report.html")
    first, second = thorax(), thorax(shape=(36, 28, 17))
    with pytest.raises(InputError, match="voxels"):
        report.add_case(module.ReportCase("a", first, second, [], None))


def test_a_report_without_a_case_is_a_page(tmp_path):
    page = write_report(tmp_path / "report.html", [])
    assert not Elements(page).open
    assert data_of(page)["cases"] == []


def test_the_data_hold_no_number_that_json_lacks(tmp_path):
    page = write_report(tmp_path / "report.html", [case_of(thorax())])
    assert json.dumps(data_of(page), allow_nan=False)
