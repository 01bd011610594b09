import errno
import itertools
import json
import os

import pytest

from ct_vae.errors import OutputError
from ct_vae.training.reporting.pictures import clear_pictures, draw_pictures
from tests._asserts import assert_only_files
from tests.training.reporting.test_validation_picture import pictured

METRICS = "metrics.jsonl"


def run_folder(tmp_path):
    line = {"samples_seen": 2, "loss": 0.5, "lr": 1e-4}
    (tmp_path / METRICS).write_text(json.dumps(line) + "\n")
    return tmp_path


def draw(folder, samples_seen, cases=None):
    cases = [pictured(shape=(12, 10, 8))] if cases is None else cases
    return draw_pictures(folder, folder / METRICS, cases, samples_seen)


def test_the_newest_picture_has_a_fixed_name_and_a_place_in_the_history(tmp_path):
    folder = run_folder(tmp_path)
    assert draw(folder, 20) == []
    names = {METRICS, "progress.png", "validation.png", "validation/samples-000000020.png"}
    assert_only_files(folder, names)
    newest = (folder / "validation.png").read_bytes()
    assert newest == (folder / "validation/samples-000000020.png").read_bytes()


def test_without_cases_there_are_curves_alone(tmp_path):
    folder = run_folder(tmp_path)
    assert draw(folder, 20, []) == []
    assert_only_files(folder, {METRICS, "progress.png"})


def test_the_history_stays_small_and_even(tmp_path):
    folder = run_folder(tmp_path)
    history = folder / "validation"
    history.mkdir()
    for clock in range(100, 4000, 100):
        (history / f"samples-{clock:09}.png").write_bytes(b"")
    (history / "samples-mine.png").write_bytes(b"")
    assert draw(folder, 4000) == []
    kept = sorted(int(p.stem[8:]) for p in history.glob("samples-0*.png"))
    assert len(kept) == 12
    assert (kept[0], kept[-1]) == (100, 4000)
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert max(gaps) <= 2 * min(gaps)
    assert (history / "samples-mine.png").exists()


def test_a_picture_that_cannot_be_drawn_is_told_and_ends_nothing(tmp_path):
    folder = run_folder(tmp_path)
    (folder / METRICS).write_text("no JSON\n")
    (told,) = draw(folder, 20)
    assert told.startswith("progress.png could not be drawn: JSONDecodeError")
    assert (folder / "validation.png").exists()
    assert not (folder / "progress.png").exists()


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    folder = run_folder(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        draw(folder, 20)
    monkeypatch.undo()
    assert_only_files(folder, {METRICS})


def test_pictures_of_an_earlier_run_are_removed_and_nothing_else(tmp_path):
    folder = run_folder(tmp_path)
    draw(folder, 20)
    (folder / "validation" / "mine.png").write_bytes(b"")
    clear_pictures(folder)
    assert_only_files(folder, {METRICS, "validation/mine.png"})
    clear_pictures(folder / "nowhere")


def test_what_cannot_be_removed_is_an_error(tmp_path):
    (tmp_path / "progress.png").mkdir()
    with pytest.raises(OutputError, match=r"progress\.png|cannot remove"):
        clear_pictures(tmp_path)
