"""The README is short, its picture can be made again, and its figures are those of the pages."""

import re
import runpy
import sys

import pytest
from matplotlib.image import imread

from ct_vae.io import write_volume
from tests._small import ct_volume

_LINK = re.compile(r"\]\((docs/[\w/.]+)(?:#[\w-]+)?\)")


def test_it_is_short(repository):
    assert len((repository / "README.md").read_text("utf-8").splitlines()) <= 150


def test_its_links_lead_somewhere(repository):
    text = (repository / "README.md").read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)", text) if not t.startswith("http")]
    assert len(targets) > 20
    assert [t for t in targets if not (repository / t).exists()] == []


def test_its_figures_are_those_of_the_pages_that_measured_them(repository):
    text = (repository / "README.md").read_text("utf-8")
    section = text.split("## Figures\n")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if _LINK.search(row)]
    assert len(rows) >= 5
    for row in rows:
        result = row.split("|")[2]
        page = (repository / _LINK.search(row)[1]).read_text("utf-8")
        # Sides of volumes and decimal numbers; a number within a word is none.
        for number in re.findall(r"(?<![\w.])\d+\.\d+(?:e-\d+)?(?![\w.])|\d+(?= %)", result):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\.?\d)", page), (number, row)


def test_its_picture_can_be_made_again(repository, tmp_path, monkeypatch):
    made = picture_of(repository / "scripts" / "readme_picture.py", tmp_path, monkeypatch)
    # Four panels: gray, colored, gray, and blue to orange.
    colored = [abs(part[..., 0] - part[..., 2]).max() for part in _quarters(made)]
    assert colored[0] < 0.01 < colored[1]
    assert colored[2] < 0.01 < colored[3]


def test_the_picture_of_streaming_can_be_made_again(repository, tmp_path, monkeypatch, capsys):
    script = repository / "scripts" / "streaming_picture.py"
    picture_of(script, tmp_path, monkeypatch, "--tile", "16")
    found = re.findall(r"at most (\S+) HU", capsys.readouterr().out)
    tiles, slabs = map(float, found)
    assert slabs < 0.01 < tiles


def picture_of(script, folder, monkeypatch, *options):
    write_volume(ct_volume((32, 32, 32)), folder / "scan.nii.gz")
    paths = [str(folder / "scan.nii.gz"), "-o", str(folder / "picture.png")]
    monkeypatch.setattr(sys, "argv", [script.name, *paths, *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert not ended.value.code
    return imread(folder / "picture.png")


def _quarters(image):
    width = image.shape[1] // 4
    return [image[:, n * width + 10 : (n + 1) * width - 10] for n in range(4)]
