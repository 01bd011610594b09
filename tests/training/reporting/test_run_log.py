import json
import os

import pytest

from ct_vae.errors import OutputError
from ct_vae.training.reporting.run_log import RunLog, rewind_log


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_appended_over_runs(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    for value in (1, 2):
        with RunLog(path) as log:
            log.write({"value": value})
    assert lines(path) == [{"value": 1}, {"value": 2}]


def test_an_unfinished_line_of_a_lost_run_is_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"value": 1}\n{"val')
    with RunLog(path) as log:
        log.write({"value": 2})
    assert lines(path) == [{"value": 1}, {"value": 2}]


@pytest.mark.parametrize("written", [0, 5])
def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch, written):
    path = tmp_path / "metrics.jsonl"
    real = os.write
    with RunLog(path) as log:
        log.write({"value": 1})
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:written]))
        with pytest.raises(OutputError, match="No space left"):
            log.write({"value": 2})
    assert lines(path) == [{"value": 1}]


def test_values_that_json_does_not_know_are_refused(tmp_path):
    with RunLog(tmp_path / "metrics.jsonl") as log, pytest.raises(ValueError, match="not JSON"):
        log.write({"value": float("nan")})


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"metrics\.jsonl.*a part of the path is a file"):
        RunLog(tmp_path / "file" / "metrics.jsonl")


@pytest.mark.parametrize("validated", [True, False])
def test_a_log_is_wound_back_to_what_the_state_has_seen(tmp_path, validated):
    """Lines of the very moment stay, but for a validation that is to be made up for."""
    path = tmp_path / "metrics.jsonl"
    step, validation = {"loss": 1.0}, {"val_rmse_hu_full": 2.0}
    told = [{"samples_seen": n, **line} for n in (4, 8, 12) for line in (step, validation)]
    path.write_text("".join(json.dumps(line) + "\n" for line in told) + '{"samples_se')
    rewind_log(path, 8, validated)
    assert lines(path) == told[: 4 if validated else 3]
