"""What a run does beside learning; that it can be interrupted is told in test_resume."""

from functools import partial

import pytest
import torch

from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.training import train
from ct_vae.training.checkpoints.checkpoint import newest_checkpoint
from ct_vae.training.optim import build_optimizer
from ct_vae.training.step import TrainStep
from tests._small import ct_volume
from tests.training.test_trainer import config, metrics, patches


def state(folder):
    return newest_checkpoint(folder, pytest.fail)


def spoil(monkeypatch, *places):
    """Give the step a batch without numbers at these places of the run."""
    step = TrainStep.__call__

    def spoilt(self, batch, samples_seen, lr):
        bad = samples_seen in places
        return step(self, batch * torch.nan if bad else batch, samples_seen, lr)

    monkeypatch.setattr(TrainStep, "__call__", spoilt)


def test_skipped_steps_are_counted_over_a_resume_and_not_averaged(tmp_path, monkeypatch):
    spoil(monkeypatch, 0, 6, 8)
    settings = {"schedule": "constant", "save_every": 100}
    whole = train(patches(), config(tmp_path / "whole", samples=12, **settings))
    train(patches(), config(tmp_path / "parts", samples=8, **settings))
    parts = train(patches(), config(tmp_path / "parts", samples=12, **settings), resume=True)
    for run in (whole, parts):
        assert state(run).settings["skipped"] == 3
        assert state(run).settings["skipped_in_a_row"] == 0
        assert state(run).tensors["ema.n_averaged"] == 3
    a, b = state(whole).tensors, state(parts).tensors
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_row_of_bad_steps_goes_on_over_a_resume_and_names_what_is_kept(tmp_path, monkeypatch):
    spoil(monkeypatch, *range(4, 20, 2))
    with pytest.raises(CtVaeError, match=r"3 steps in a row .* nothing was saved"):
        train(patches(), config(tmp_path / "a", samples=20, save_every=20, most_skipped=3))
    train(patches(), config(tmp_path / "b", samples=6, save_every=6, most_skipped=3))
    more = {"samples": 20, "save_every": 20, "most_skipped": 3}
    with pytest.raises(CtVaeError, match=r"the last at 8 samples.*the model of 6 samples is kept"):
        train(patches(), config(tmp_path / "b", **more), resume=True)


def test_a_save_that_was_cut_short_is_made_again_and_told_once(tmp_path):
    """Killed after the line of the validation, before the model."""
    settings = config(tmp_path, samples=4)
    run = train(patches(), settings, [ct_volume()])
    whole = {name: (run / name).read_bytes() for name in ("metrics.jsonl", "model.safetensors")}
    (run / "model.safetensors").unlink()
    train(patches(), settings, [ct_volume()], resume=True)
    assert whole == {name: (run / name).read_bytes() for name in whole}


def test_a_note_is_told_and_logged_once_at_its_place(tmp_path, monkeypatch, capfd):
    step = TrainStep.__call__

    def noting(self, batch, samples_seen, lr):
        if samples_seen == 2:
            self.notes.append("less at once")
        return step(self, batch, samples_seen, lr)

    monkeypatch.setattr(TrainStep, "__call__", noting)
    lines = metrics(train(patches(), config(tmp_path)))
    assert [line for line in lines if "note" in line] == [
        {"samples_seen": 2, "note": "less at once"}
    ]
    assert capfd.readouterr().err.count("less at once") == 1


def test_the_rate_of_a_step_is_that_before_it(tmp_path, monkeypatch):
    step, rates = TrainStep.__call__, []

    def watched(self, batch, samples_seen, lr):
        rates.append((samples_seen, lr))
        return step(self, batch, samples_seen, lr)

    monkeypatch.setattr(TrainStep, "__call__", watched)
    train(patches(), config(tmp_path, samples=6, save_every=6, schedule="constant"))
    assert rates == [(0, pytest.approx(5e-4)), (2, 1e-3), (4, 1e-3)]


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/samples-000000000004/state.json"])
def test_any_part_of_a_run_is_a_run(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="contains a run already"):
        train(patches(), config(tmp_path))


def test_to_begin_anew_and_to_go_on_are_not_asked_for_together(tmp_path):
    with pytest.raises(ConfigError, match="give one of them"):
        train(patches(), config(tmp_path / "run"), overwrite=True, resume=True)
    assert not (tmp_path / "run").exists()


def test_a_run_on_a_device_reads_at_its_log_lines_and_counts_what_it_skipped(tmp_path, monkeypatch):
    """With fused optimizers, as on GPUs; one step in between and the last are not finite."""
    spoil(monkeypatch, 6, 10)
    settings = {"samples": 12, "log_every": 4, "save_every": 100, "schedule": "constant"}
    at_once = train(patches(), config(tmp_path / "a", **settings))
    built = partial(build_optimizer, fused=True)
    monkeypatch.setattr("ct_vae.training.build.build_optimizer", lambda p, c, _: built(p, c))
    reads, read = [], TrainStep.read
    monkeypatch.setattr(TrainStep, "read", lambda self, r: reads.append(r) or read(self, r))
    late = train(patches(), config(tmp_path / "b", **settings))
    assert len(reads) == 3
    assert state(late).settings["skipped"] == state(at_once).settings["skipped"] == 2
    assert state(late).settings["skipped_in_a_row"] == 1
    assert state(late).tensors["ema.n_averaged"] == 4
    expected, found = (metrics(run) for run in (at_once, late))
    assert [line["samples_seen"] for line in found] == [line["samples_seen"] for line in expected]
    for a, b in zip(expected, found, strict=True):
        assert b == pytest.approx(a, rel=1e-3)
    a, b = (state(run).tensors for run in (at_once, late))
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_device_that_skips_too_much_stops_the_run_at_its_log_line(tmp_path, monkeypatch):
    spoil(monkeypatch, *range(4, 20, 2))
    built = partial(build_optimizer, fused=True)
    monkeypatch.setattr("ct_vae.training.build.build_optimizer", lambda p, c, _: built(p, c))
    settings = config(tmp_path, samples=20, log_every=8, save_every=20, most_skipped=3)
    with pytest.raises(CtVaeError, match=r"3 steps in a row .* last at 8 .*nothing was saved"):
        train(patches(), settings)
