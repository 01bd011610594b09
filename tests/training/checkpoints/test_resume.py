import json
import os
import shutil
import signal
import time
from functools import cache

import numpy as np
import pytest
import torch

from ct_vae.config.data import DataConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.errors import ConfigError, InputError, StoppedError
from ct_vae.io import write_volume
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training import train
from ct_vae.training.checkpoints.checkpoint import Checkpoint, newest_checkpoint
from ct_vae.training.checkpoints.content import Content
from ct_vae.training.checkpoints.resume import changes, resumed_changes
from ct_vae.training.run import Run
from tests._forked import begin_training, finish
from tests._small import SMALL_CODES, SMALL_MODEL, ct_volume
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
PATCH = SMALL_MODEL.model_copy(
    update={
        "down_channels": (8,),
        "patch_size": 4,
        "linear_skip": True,
        "refine_channels": 2,
        "norm": "layer",
        "norm_groups": None,
    }
)
KINDS = {
    "kl": (SMALL_MODEL, GAN),
    "vq": (SMALL_CODES["vq"], {"ema_decay": 0.9}),
    "patch": (PATCH, {"ema_samples": 20, "schedule": "wsd", "lr_decay_samples": 30}),
}
VALIDATION = [ct_volume()] * 2


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Gives the run of a kind that nothing has stopped."""

    @cache
    def run(kind):
        folder = tmp_path_factory.mktemp("whole") / "run"
        return train(patches(7), config(folder, kind), VALIDATION)

    return run


@pytest.fixture
def finished(whole, tmp_path):
    """A run of its own that has come to its end."""
    return shutil.copytree(whole("kl"), tmp_path / "run")


def state(folder):
    return newest_checkpoint(folder, pytest.fail)


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def same_state(a, b):
    return same(a.tensors, b.tensors)


def weights(folder):
    return load_model_folder(folder).model.state_dict()


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
def test_20_steps_are_7_and_a_signal_and_13(whole, tmp_path, monkeypatch, kind, workers):
    """Whatever the number of workers, of which a run without a stop has none."""
    whole, settings = whole(kind), config(tmp_path / "parts", kind, workers=workers)
    with monkeypatch.context() as patch:
        interrupt(patch, at_samples=24)
        with pytest.raises(StoppedError, match="SIGTERM after 28 samples") as stopped:
            train(patches(7), settings, VALIDATION)
    assert stopped.value.exit_code == 75
    assert state(tmp_path / "parts").samples_seen == 28
    parts = train(patches(7), settings, VALIDATION, resume=True)
    assert state(whole).samples_seen == 80
    assert same_state(state(whole), state(parts))
    for place in (".", "best"):
        assert same(weights(whole / place), weights(parts / place))
    files = ["metrics.jsonl", "MODEL_CARD.md"]
    if not workers:
        # These tell the settings as well.
        files += ["model.safetensors", "best/model.safetensors"]
    for file in files:
        assert (whole / file).read_bytes() == (parts / file).read_bytes(), file


def test_a_signal_during_validation_saves_the_state_and_the_validation_is_made_up_for(
    whole, tmp_path, monkeypatch
):
    class Signalling(list):
        running = False

        def __getitem__(self, index):
            if self.running:
                os.kill(os.getpid(), signal.SIGUSR1)
            return super().__getitem__(index)

    begin = Run.train

    def begin_and_signal(run, resume):
        # The volume that is looked at before the run sends nothing.
        Signalling.running = True
        begin(run, resume)

    monkeypatch.setattr(Run, "train", begin_and_signal)
    with pytest.raises(StoppedError, match="SIGUSR1 after 40 samples"):
        train(patches(7), config(tmp_path / "parts"), Signalling(VALIDATION))
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    monkeypatch.undo()
    parts = train(patches(7), config(tmp_path / "parts"), VALIDATION, resume=True)
    assert metrics(whole("kl")) == metrics(parts)
    assert same_state(state(whole("kl")), state(parts))


@pytest.fixture
def interruptible():
    """Ctrl-C acts; processes that a shell starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
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


def test_a_damaged_state_is_told_and_the_one_before_it_is_taken(finished, capfd):
    expected = state(finished)
    newest = max((finished / "checkpoints").iterdir())
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    train(patches(7), config(finished), resume=True)
    told = capfd.readouterr().err.replace("\n", " ")
    assert "is not what manifest.json says; the previous checkpoint is used" in told
    assert "resuming after 40 samples" in told
    assert same_state(expected, state(finished))


def test_a_run_of_which_no_state_is_whole_is_refused(finished):
    for folder in (finished / "checkpoints").iterdir():
        (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="none of its 2 state"):
        train(patches(7), config(finished), resume=True)


def test_a_finished_run_is_left_as_it_is(finished):
    before = contents(finished)
    train(patches(7), config(finished), VALIDATION, resume=True)
    assert before == contents(finished)


def test_resume_without_a_run_begins_one(tmp_path):
    first = train(patches(7), config(tmp_path / "a", samples=12), resume=True)
    again = train(patches(7), config(tmp_path / "b", samples=12))
    assert load_model_folder(first).sha256 == load_model_folder(again).sha256
    assert same_state(state(first), state(again))


def test_an_older_model_does_not_pass_for_that_of_a_new_run(finished, tmp_path, monkeypatch):
    """Begun anew, stopped before its first save and resumed, a run saves its own model."""
    new = {"seed": 1, "samples": 24}
    expected = train(patches(7), config(tmp_path / "other", **new))
    with monkeypatch.context() as patch:
        interrupt(patch, at_samples=12)
        with pytest.raises(StoppedError):
            train(patches(7), config(finished, **new), overwrite=True)
    assert not (finished / "model.safetensors").exists()
    train(patches(7), config(finished, **new), resume=True)
    ours, theirs = (load_model_folder(f).sha256 for f in (finished, expected))
    assert ours == theirs


def test_a_model_without_a_state_is_not_resumed(finished):
    shutil.rmtree(finished / "checkpoints")
    before = contents(finished)
    with pytest.raises(ConfigError, match="no checkpoint to resume from"):
        train(patches(7), config(finished), resume=True)
    assert contents(finished) == before


def test_a_run_that_has_seen_more_is_refused(finished):
    with pytest.raises(ConfigError, match="has seen 80 already"):
        train(patches(7), config(finished, samples=72), resume=True)


def test_a_state_of_an_older_version_lacks_keys_and_goes_on():
    now = RunConfig().as_json()
    older = {**now, "training": {k: v for k, v in now["training"].items() if k != "tracker"}}
    assert changes(older, now) == []


def test_an_unknown_tracker_is_told_before_an_older_run_is_cleared(finished):
    before = contents(finished)
    with pytest.raises(ConfigError, match="tracker 'unknown'"):
        train(patches(7), config(finished, tracker="unknown"), overwrite=True)
    assert contents(finished) == before


def test_what_may_change_is_told_and_what_must_not_is_refused(finished, capfd):
    train(patches(7), config(finished, samples=88, lr=1e-4), resume=True)
    told = capfd.readouterr().err
    assert "training.lr: 0.001 -> 0.0001" in told
    assert "training.samples: 80 -> 88" in told
    with pytest.raises(ConfigError) as refused:
        train(patches(7), config(finished, samples=88, seed=1, batch_size=8), resume=True)
    assert "training.batch_size: 4 -> 8; training.seed: 0 -> 1" in refused.value.cause
    with pytest.raises(ConfigError, match=r"cases: a data set given in Python, 7 items -> "):
        train(patches(6), config(finished, samples=88), resume=True)


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


def named(folder, place, names=("a", "b"), seeds=(0, 1), **changed):
    """The configuration of a run on files in a folder, the last of which validates."""
    for name, seed in zip((*names, "v"), (*seeds, 9), strict=True):
        write_volume(ct_volume((12, 12, 12), seed=seed), place / f"{name}.nii")
    base = config(
        folder,
        samples=changed.pop("samples", 4),
        save_every=4,
        adversarial_weight=0.0,
        adversarial_start_samples=0,
        **changed,
    )
    data = DataConfig(
        train=tuple(str(place / f"{name}.nii") for name in names), val=(str(place / "v.nii"),)
    )
    return base.model_copy(update={"data": data})


def test_the_same_data_elsewhere_is_the_same_run(tmp_path):
    train(None, named(tmp_path / "run", tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = named(tmp_path / "run", tmp_path / "there", samples=8)
    other_cache = {"cache_dir": str(tmp_path / "cache")}
    moved = moved.model_copy(update={"data": moved.data.model_copy(update=other_cache)})
    assert load_model_folder(train(None, moved, resume=True)).config.samples_seen == 8


@pytest.mark.parametrize(
    ("names", "seeds", "words"),
    [
        (("a", "b"), (0, 7), r"1 of 2 training cases hold something else, such as b"),
        (("b", "a"), (1, 0), r"its 2 training cases had another order"),
        (("a", "b", "c"), (0, 1, 2), r"it had 2 training cases, and there are 3"),
    ],
)
def test_other_data_under_the_same_paths_are_refused(tmp_path, names, seeds, words):
    train(None, named(tmp_path / "run", tmp_path / "in"))
    before = contents(tmp_path / "run")
    changed = named(tmp_path / "run", tmp_path / "in", names, seeds, samples=8)
    with pytest.raises(ConfigError, match=words):
        train(None, changed, resume=True)
    assert contents(tmp_path / "run") == before


def test_another_validation_case_is_refused_as_best_models_are_compared_by_it(tmp_path):
    settings = named(tmp_path / "run", tmp_path / "in")
    train(None, settings)
    write_volume(ct_volume((12, 12, 12), seed=5), tmp_path / "in" / "v.nii")
    with pytest.raises(ConfigError, match=r"1 of 1 validation cases hold something else"):
        train(None, settings, resume=True)


def test_first_weights_are_compared_by_content_too(tmp_path, finished):
    for name in ("one", "copy"):
        shutil.copytree(finished, tmp_path / name)

    def begun_from(name, **changed):
        base = named(tmp_path / "begun", tmp_path / "in", **changed)
        model = base.model.model_copy(update={"ckpt_path": str(tmp_path / name)})
        return base.model_copy(update={"model": model})

    train(None, begun_from("one"))
    train(None, begun_from("copy", samples=8), resume=True)
    train(patches(7), config(tmp_path / "copy", samples=84), resume=True)
    with pytest.raises(ConfigError, match=r"weights of model\.ckpt_path have changed"):
        train(None, begun_from("copy", samples=12), resume=True)


def test_a_state_that_tells_no_content_is_compared_by_names(tmp_path):
    settings = named(tmp_path / "run", tmp_path / "in")
    train(None, settings)
    state = newest_checkpoint(tmp_path / "run", print)
    older = {k: v for k, v in state.settings.items() if k != "content"}
    checkpoint = Checkpoint(state.samples_seen, state.tensors, older)
    assert resumed_changes(checkpoint, 4, older["config"], Content({"train": ["x"]})) == []
    moved = {**older["config"], "cases": "2 case(s), sha256 x"}
    with pytest.raises(ConfigError, match="cases: "):
        resumed_changes(checkpoint, 4, moved, Content({"train": ["x"]}))


def test_a_state_holds_no_name_of_a_case(tmp_path):
    train(None, named(tmp_path / "run", tmp_path / "Doe^John", ("Doe^John", "b")))
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or b"Doe^John" not in path.read_bytes()


def test_patience_ends_a_run_and_resuming_it_changes_nothing(tmp_path, monkeypatch):
    errors = iter([3.0, 5.0, 4.0, 1.0])
    monkeypatch.setattr(
        "ct_vae.training.run.summarize", lambda _: {"val_rmse_hu_full": next(errors)}
    )
    settings = config(tmp_path, save_every=8, patience=2)
    run = train(patches(7), settings, [ct_volume()])
    assert load_model_folder(run).config.samples_seen == 24
    assert load_model_folder(run / "best").config.samples_seen == 8
    train(patches(7), settings, [ct_volume()], resume=True)
    assert load_model_folder(run).config.samples_seen == 24


def test_two_states_are_kept_and_checkpoints_may_be_more_frequent_than_saves(tmp_path):
    run = train(patches(7), config(tmp_path, samples=32, checkpoint_every=12))
    kept = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert kept == ["samples-000000000024", "samples-000000000032"]


def test_another_process_in_the_folder_is_refused_by_name(tmp_path):
    from ct_vae.training.checkpoints.lock import run_lock

    with run_lock(tmp_path), pytest.raises(ConfigError, match=rf"process {os.getpid()} on"):
        train(patches(7), config(tmp_path))
    train(patches(7), config(tmp_path, samples=12))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_always_goes_on(tmp_path):
    """Twenty times without a warning, then to the end: the weights of a run never killed."""
    tree = config(tmp_path / "killed", samples=160, save_every=40, checkpoint_every=8).as_json()
    for name, seed in (("train", 0), ("val", 1)):
        write_volume(ct_volume((20, 18, 16), seed=seed), tmp_path / f"{name}.nii.gz")
        tree["data"][name] = [str(tmp_path / f"{name}.nii.gz")]
    path = tmp_path / "run.json"
    path.write_text(json.dumps(tree))
    draw, reached = np.random.default_rng(0), []
    for _ in range(20):
        process = begin_training(path, False, draw.uniform(0.05, 0.5), resume=True)
        process.join()
        checkpoint = newest_checkpoint(tmp_path / "killed", pytest.fail)
        reached.append(0 if checkpoint is None else checkpoint.samples_seen)
        if (tmp_path / "killed" / "model.safetensors").exists():
            load_model_folder(tmp_path / "killed")
    assert reached == sorted(reached)
    assert reached[-1] > 0
    finish(begin_training(path, pictured=False, resume=True))
    path.write_text(path.read_text().replace(str(tmp_path / "killed"), str(tmp_path / "whole")))
    finish(begin_training(path, pictured=False))
    assert same_state(state(tmp_path / "killed"), state(tmp_path / "whole"))
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
