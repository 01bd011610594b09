from ct_vae.evaluation.report.page import Findings, Shown, page
from ct_vae.evaluation.tables import summarize
from tests.evaluation.report._report import case_of, data_of, thorax

EVIL = "</script><b>&"


def shown(name="case_0001", **changes):
    rows = case_of(thorax(), name).rows
    values = {
        "name": name,
        "rmse": 12.34,
        "worst_hu": -345.6,
        "where": "the body",
        "rows": rows,
        "notes": (),
        "description": {"shape": [1, 2, 3]},
        "picture": "UE5H",
        "plots": ("<svg></svg>",),
    }
    return Shown(**values | changes)


def text_of(cases, model="", full=False):
    rows = [row for case in cases for row in case.rows]
    found = Findings(rows, summarize(rows), {"version": "1"})
    return [part.decode() for part in page(cases, found, model=model, full=full)]


def test_the_page_is_divided_where_the_voxels_go():
    before, after = text_of([shown()])
    assert before.startswith("<!DOCTYPE html>")
    assert after.rstrip().endswith("</html>")
    assert "RMSE 12.3 HU in the body" in before
    assert "1 case. Reconstructions are lossy, derived, not for diagnosis." in before


def test_only_cases_with_voxels_are_in_the_viewer():
    cases = [shown("case_0001"), shown("case_0002", description=None)]
    before, after = text_of(cases)
    assert [case["name"] for case in data_of(before + after)["cases"]] == ["case_0001"]
    assert "it holds the 1 worst of 2 cases" in before
    assert before.count('class="open"') == 1


def test_pictures_after_the_sixth_are_folded():
    before, _ = text_of([shown(f"case_{n:04d}") for n in range(8)])
    assert "2 more" in before
    assert "2 more" not in text_of([shown(f"case_{n:04d}") for n in range(6)])[0]


def test_names_and_notes_are_escaped():
    text = "".join(text_of([shown(EVIL, notes=(EVIL,), where=EVIL)], model=EVIL))
    assert EVIL not in text


def test_without_cases_there_is_a_page():
    assert "0 cases" in text_of([])[0]
