import io
from pathlib import Path

import pytest
from rich.console import Console

from ct_vae.cli.inventory_table import show_rows
from ct_vae.datasets.sources.patient_split import CaseAssignment
from ct_vae.find_volumes.inventory import Row

OK = Row(
    "in/a/case_001.nii.gz",
    "nifti",
    "ok",
    size=(512, 512, 412),
    spacing_mm=(0.703125, 0.703125, 1.25),
    hu=(-1024, -850, 1200),
    warnings=("padding",),
)
GAP = Row("in/series", "dicom", "refused", "a slice is missing; export it again", "CT", (9, 9, 4))
SCOUT = Row("in/series/#s001_ab12cd34", "dicom", "skipped", "a localizer", "CT")
DOUBLE = Row("in/b.nii", "nifti", "ok")
STRAY = Row("in/c.nii", "nifti", "ok")
ROWS = [OK, GAP, SCOUT, DOUBLE, STRAY]
PLACES = [
    CaseAssignment("validation", None, 1),
    None,
    None,
    CaseAssignment("validation", 0, 2),
    None,
]


def shown(width, rows=ROWS, places=PLACES, other_files=3, given=("in",)):
    out = io.StringIO()
    show_rows(rows, places, other_files, list(map(Path, given)), Console(file=out, width=width))
    return out.getvalue()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()


@pytest.mark.parametrize("width", [80, 109, 110, 120, 200])
def test_the_table_fits_and_tells_every_number(width):
    table, rest = shown(width).split("\n\n", 1)
    lines = table.splitlines()
    assert lines[0] == "Below in:"
    assert max(map(len, lines)) <= width
    for text in ("512x512x412", "-1024 -850 1200", "ok val", "refused", "skipped"):
        assert sum(text in line for line in lines) == 1
    assert ("0.703x0.703x1.25" in table) == (width >= 110)
    assert ("patient" in lines[1]) == (width >= 110)
    # Reasons are whole lines, which a terminal may wrap, so that they can be copied and searched.
    assert "refused: series: a slice is missing; export it again" in rest.splitlines()


def test_paths_are_folded_not_cut():
    path = "in/" + "/".join(["very_long_folder_name"] * 6)
    text = shown(80, [Row(path, "nifti", "ok")], [CaseAssignment("training", None, 1)])
    lines = text.split("\n\n")[0].splitlines()
    column = "".join(line[: lines[1].index("kind")].strip() for line in lines[2:])
    assert column == path.removeprefix("in/")


def test_what_is_no_use_is_told_below():
    rest = shown(120).split("\n\n", 1)[1].splitlines()
    assert rest[:4] == [
        "refused: series: a slice is missing; export it again",
        "skipped: series/#s001_ab12cd34: a localizer",
        "not listed: c.nii: --patient does not match its path",
        "not listed: b.nii: the same volume as a/case_001.nii.gz",
    ]
    assert rest[4:7] == [
        "3 ok, 1 refused, 1 skipped; 3 other files",
        "1 with warnings, for example about padding; use --json to see them",
        "1 different volumes of 1 patients: training 0, validation 1, test 0",
    ]
    assert "--patient REGEX" in rest[7]


def test_only_refused_rows_need_no_more_sums():
    text = shown(120, [GAP], [None], other_files=0)
    assert text.splitlines()[-1] == "1 refused"


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (["in"], "Below in:"),
        (["in/a.nii", "in/b.nii"], "Below in:"),
        (["."], "path"),
        (["in", "/elsewhere"], "path"),
    ],
)
def test_what_paths_have_in_common_is_said_once(given, first):
    lines = shown(120, given=given).splitlines()
    assert lines[0].startswith(first)
    row = next(line for line in lines if "case_001" in line)
    assert row.startswith("a/case" if first == "Below in:" else "in/a/case")


def test_a_path_that_a_terminal_would_obey_is_shown_harmless():
    evil = "in/a\x1b[31m\nb\udcff[red]ü.nii"
    text = shown(200, [Row(evil, "nifti", "refused", "is \x1b[2J bad")], [None])
    assert "a\\x1b[31m\\nb\\udcff[red]ü.nii" in text
    assert "refused: a\\x1b[31m\\nb\\udcff[red]ü.nii: is \\x1b[2J bad" in text.splitlines()
    assert "\x1b" not in text
    text.encode()
