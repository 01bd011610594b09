import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
import torch

from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.errors import ConfigError, InputError, StoppedError
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training import train
from ct_vae.training.checkpoint import newest_checkpoint
from ct_vae.training.resume import changes
from ct_vae.training.run import Run
from tests._small import SMALL_CODES, SMALL_MODEL, ct_volume
from tests.training._killed import finish, kill, start
from tests.training.test_trainer import metrics, patches

GAN = {
    "adversarial_weight": 0.1,
    "adversarial_start_samples": 8,
    "adversarial_ramp_samples": 16,
    "discriminator_ch": 4,
    "discriminator_levels": 2,
    "r1_weight": 1.0,
    "r1_every": 3,
    "lecam_weight": 0.1,
    "ema_decay": 0.9,
    "micro_batch_size": 2,
    "kl_anneal_samples": 40,
}
KINDS = {"kl": (SMALL_MODEL, GAN), "vq": (SMALL_CODES["vq"], {"ema_decay": 0.9})}


def config(folder, kind="kl", **changed):
    model, training = KINDS[kind]
    settings = {
        "output_dir": str(folder),
        "samples": 80,
        "batch_size": 4,
        "patch_size": (8, 8, 8),
        "lr": 1e-3,
        "warmup_samples": 12,
        "log_every": 4,
        "save_every": 40,
        **training,
        **changed,
    }
    return RunConfig(
        model=model.model_copy(update={"dropout": 0.1}), training=TrainingConfig(**settings)
    )


def state(folder):
    return newest_checkpoint(folder, pytest.fail)


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def same_state(a, b):
    return a.tensors.keys() == b.tensors.keys() and all(
        torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors
    )


def interrupt(monkeypatch, at_samples):
    """Send this process a signal in the middle of a step, as a batch system would."""
    advance = Run._advance

    def advance_and_signal(self, batch, outlets):
        if self.samples_seen == at_samples:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, batch, outlets)

    monkeypatch.setattr(Run, "_advance", advance_and_signal)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_20_steps_are_7_and_a_signal_and_13(tmp_path, monkeypatch, kind, workers):
    settings = {"kind": kind, "workers": workers}
    whole = train(patches(7), config(tmp_path / "whole", **settings), [ct_volume()])
    with monkeypatch.context() as patch:
        interrupt(patch, at_samples=24)
        with pytest.raises(StoppedError, match="SIGTERM at 28 samples") as stopped:
            train(patches(7), config(tmp_path / "parts", **settings), [ct_volume()])
    assert stopped.value.exit_code == 75
    assert state(tmp_path / "parts").samples_seen == 28
    parts = train(patches(7), config(tmp_path / "parts", **settings), [ct_volume()], resume=True)
    assert state(whole).samples_seen == 80
    assert same_state(state(whole), state(parts))
    for file in ("metrics.jsonl", "model.safetensors", "best/model.safetensors", "MODEL_CARD.md"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes(), file


@pytest.mark.parametrize("kind", KINDS)
def test_workers_change_nothing(tmp_path, kind):
    runs = [
        train(patches(7), config(tmp_path / str(n), kind, workers=n, samples=24), [ct_volume()])
        for n in (0, 2)
    ]
    assert same_state(*map(state, runs))


def test_a_signal_during_validation_saves_the_state_and_the_validation_is_made_up_for(
    tmp_path, monkeypatch
):
    whole = train(patches(7), config(tmp_path / "whole"), [ct_volume()] * 2)

    def signalling(volume):
        os.kill(os.getpid(), signal.SIGUSR1)
        return volume

    with monkeypatch.context() as patch:
        patch.setattr("ct_vae.training.run_data._itself", signalling)
        with pytest.raises(StoppedError, match="SIGUSR1 at 40 samples"):
            train(patches(7), config(tmp_path / "parts"), [ct_volume()] * 2)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    parts = train(patches(7), config(tmp_path / "parts"), [ct_volume()] * 2, resume=True)
    assert metrics(whole) == metrics(parts)
    assert same_state(state(whole), state(parts))


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
    advance = Run._advance

    def twice(self, batch, outlets):
        first = signal.getsignal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        # Python runs a handler when it comes to it; two signals before that count as one.
        while signal.getsignal(signal.SIGINT) == first:
            time.sleep(0.001)
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)
        return advance(self, batch, outlets)

    monkeypatch.setattr(Run, "_advance", twice)
    with pytest.raises(KeyboardInterrupt):
        train(patches(7), config(tmp_path))


def test_a_damaged_state_is_told_and_the_one_before_it_is_taken(tmp_path, capfd):
    whole = train(patches(7), config(tmp_path / "run"))
    expected = state(whole)
    newest = max((whole / "checkpoints").iterdir())
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    train(patches(7), config(tmp_path / "run"), resume=True)
    told = capfd.readouterr().err.replace("\n", " ")
    assert "is not what manifest.json says; the state before it is taken" in told
    assert "goes on after 40 samples" in told
    assert same_state(expected, state(whole))


def test_a_run_of_which_no_state_is_whole_is_refused(tmp_path):
    run = train(patches(7), config(tmp_path / "run"))
    for folder in (run / "checkpoints").iterdir():
        (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="none of its 2 state"):
        train(patches(7), config(tmp_path / "run"), resume=True)


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run = train(patches(7), config(tmp_path / "run"))
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    train(patches(7), config(tmp_path / "run"), resume=True)
    assert before == {
        p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"
    }


def test_resume_without_a_run_begins_one(tmp_path):
    first = train(patches(7), config(tmp_path / "a"), resume=True)
    again = train(patches(7), config(tmp_path / "b"))
    assert load_model_folder(first).sha256 == load_model_folder(again).sha256
    assert same_state(state(first), state(again))


def test_an_older_model_does_not_pass_for_that_of_a_new_run(tmp_path, monkeypatch):
    """Begun anew, stopped before its first save and resumed, a run saves its own model."""
    train(patches(7), config(tmp_path / "run"))
    expected = train(patches(7), config(tmp_path / "other", seed=1))
    with monkeypatch.context() as patch:
        interrupt(patch, at_samples=36)
        with pytest.raises(StoppedError):
            train(patches(7), config(tmp_path / "run", seed=1), overwrite=True)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    train(patches(7), config(tmp_path / "run", seed=1), resume=True)
    ours, theirs = (load_model_folder(f).sha256 for f in (tmp_path / "run", expected))
    assert ours == theirs


def test_a_model_without_a_state_is_not_resumed(tmp_path):
    run = train(patches(7), config(tmp_path / "run", samples=12))
    shutil.rmtree(run / "checkpoints")
    before = contents(run)
    with pytest.raises(ConfigError, match="no state to resume from"):
        train(patches(7), config(tmp_path / "run"), resume=True)
    assert contents(run) == before


def test_a_run_that_has_seen_more_is_refused(tmp_path):
    train(patches(7), config(tmp_path / "run", samples=20))
    with pytest.raises(ConfigError, match="has seen 20 already"):
        train(patches(7), config(tmp_path / "run", samples=12), resume=True)


def test_a_state_of_an_older_version_lacks_keys_and_goes_on():
    now = RunConfig().as_json()
    older = {**now, "training": {k: v for k, v in now["training"].items() if k != "tracker"}}
    assert changes(older, now) == []


def test_an_unknown_tracker_is_told_before_an_older_run_is_cleared(tmp_path):
    run = train(patches(7), config(tmp_path / "run", samples=12))
    before = contents(run)
    with pytest.raises(ConfigError, match="tracker 'unknown'"):
        train(patches(7), config(tmp_path / "run", tracker="unknown"), overwrite=True)
    assert contents(run) == before


def test_what_may_change_is_told_and_what_must_not_is_refused(tmp_path, capfd):
    train(patches(7), config(tmp_path / "run", samples=40))
    train(patches(7), config(tmp_path / "run", samples=48, lr=1e-4), resume=True)
    told = capfd.readouterr().err
    assert "training.lr: 0.001 -> 0.0001" in told
    assert "training.samples: 40 -> 48" in told
    with pytest.raises(ConfigError) as refused:
        train(patches(7), config(tmp_path / "run", seed=1, batch_size=8), resume=True)
    assert "training.batch_size: 4 -> 8; training.seed: 0 -> 1" in refused.value.cause
    with pytest.raises(ConfigError, match=r"cases: a data set given in Python, 7 items -> "):
        train(patches(6), config(tmp_path / "run"), resume=True)


def test_changes_walk_through_sections():
    before = {"model": {"a": 1}, "training": {"lr": 1, "seed": 0}, "notes": None}
    after = {"model": {"a": 1}, "training": {"lr": 2, "seed": 0}, "notes": "new"}
    assert changes(before, before) == []
    assert changes(before, after) == ["notes: None -> new", "training.lr: 1 -> 2"]
    with pytest.raises(ConfigError, match=r"model\.a: 1 -> None"):
        changes(before, {**before, "model": {}})


def test_of_the_data_only_the_place_of_the_cache_may_change():
    before = RunConfig().as_json()
    moved = {**before, "data": {**before["data"], "cache_dir": "elsewhere"}}
    assert changes(before, moved) == ["data.cache_dir: None -> elsewhere"]
    for section, key, value in [
        ("data", "datalist", "other.json"),
        ("data", "patient_pattern", "x"),
        ("preprocess", "spacing_mm", [1.0, 1.0, 1.0]),
        ("training", "betas", [0.5, 0.9]),
        ("training", "ema_decay", 0.5),
        ("training", "weight_decay", 0.1),
        ("training", "kl_weight", 1.0),
    ]:
        with pytest.raises(ConfigError, match=rf"{section}\.{key}: "):
            changes(before, {**before, section: {**before[section], key: value}})


def test_patience_ends_a_run_and_resuming_it_changes_nothing(tmp_path, monkeypatch):
    errors = iter([3.0, 5.0, 4.0, 1.0])
    monkeypatch.setattr(
        "ct_vae.training.run.summarise", lambda _: {"val_rmse_hu_full": next(errors)}
    )
    settings = config(tmp_path, save_every=8, patience=2)
    run = train(patches(7), settings, [ct_volume()])
    assert load_model_folder(run).config.samples_seen == 24
    assert load_model_folder(run / "best").config.samples_seen == 8
    train(patches(7), settings, [ct_volume()], resume=True)
    assert load_model_folder(run).config.samples_seen == 24


def test_two_states_are_kept_and_checkpoints_may_be_more_frequent_than_saves(tmp_path):
    run = train(patches(7), config(tmp_path, checkpoint_every=12))
    kept = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert kept == ["samples-000000000072", "samples-000000000080"]


def test_another_process_in_the_folder_is_refused_by_name(tmp_path):
    from ct_vae.training.run_lock import run_lock

    with run_lock(tmp_path), pytest.raises(ConfigError, match=rf"process {os.getpid()} on"):
        train(patches(7), config(tmp_path))
    train(patches(7), config(tmp_path, samples=12))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_always_goes_on(tmp_path):
    """Thirty times SIGKILL, then to the end: the weights of a run that was never killed."""
    tree = config(tmp_path / "killed", samples=400, save_every=80, checkpoint_every=8).as_json()
    tree["data"] = {"phantoms": {"train": 1, "val": 1, "spacing_mm": [16.0, 16.0, 16.0]}}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(tree))
    draw, reached = np.random.default_rng(0), []
    for _ in range(30):
        process = start(path, resume=True)
        time.sleep(draw.uniform(0, 0.6))
        kill(process)
        checkpoint = newest_checkpoint(tmp_path / "killed", pytest.fail)
        reached.append(0 if checkpoint is None else checkpoint.samples_seen)
        if (tmp_path / "killed" / "model.safetensors").exists():
            load_model_folder(tmp_path / "killed")
    assert reached == sorted(reached)
    finish(start(path, resume=True))
    path.write_text(path.read_text().replace(str(tmp_path / "killed"), str(tmp_path / "whole")))
    finish(start(path))
    assert same_state(state(tmp_path / "killed"), state(tmp_path / "whole"))
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
