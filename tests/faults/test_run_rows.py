"""Rows 33 to 35, 37 and 38 of the list of faults: runs, their states, and foreign weights."""

import errno
import gc
import hashlib
import io
import json
import os
import pickle
import signal
import sys

import pytest
import torch

from ct_vae.errors import CtVaeError, StoppedError
from ct_vae.models.model_folder import load_model_folder
from ct_vae.models.weights import CONFIG_KEY, load_metadata, load_weights, weights_bytes
from ct_vae.training import train
from ct_vae.training.checkpoints.checkpoint import newest_checkpoint
from ct_vae.training.data.loader import Batches
from ct_vae.training.run import Run
from tests._small import SMALL_CODES
from tests.cli._run import call
from tests.faults._doors import ct_file
from tests.training.test_trainer import config, metrics, patches


class Signalling(list):
    """Patches; when one is first taken, the process gets a signal."""

    number = 0

    def __getitem__(self, index):
        if self.number:
            os.kill(os.getpid(), self.number)
            self.number = 0
        return super().__getitem__(index)


@pytest.fixture
def heard():
    """Lets SIGHUP be heard although the tests may run under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class GoneTerminal(io.StringIO):
    """A terminal of which the connection has dropped."""

    def isatty(self):
        return True

    def write(self, _):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP"])
def test_33_a_signal_saves_the_run_and_resuming_it_ends_as_if_nothing_was(
    tmp_path, monkeypatch, name, heard
):
    whole = train(patches(), config(tmp_path / "whole"))
    data = Signalling(patches())
    begin = Run.train

    def begin_and_signal(run, resume):
        # The patches that are looked at before the run send nothing.
        data.number = getattr(signal, name)
        if name == "SIGHUP":
            monkeypatch.setattr(sys, "stderr", GoneTerminal())
        begin(run, resume)

    monkeypatch.setattr(Run, "train", begin_and_signal)
    with pytest.raises(StoppedError, match=f"stopped by {name} after 2 samples") as caught:
        train(data, config(tmp_path / "parts"))
    assert caught.value.exit_code == 75
    # A run that began anew would end the same.
    assert newest_checkpoint(tmp_path / "parts", pytest.fail).samples_seen == 2
    monkeypatch.undo()
    parts = train(patches(), config(tmp_path / "parts"), resume=True)
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes()


def copied(model_folder, tmp_path):
    """A copy of a model folder, to be spoilt."""
    target = tmp_path / "model"
    target.mkdir()
    for file in model_folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def put(folder, weights):
    """Replace the weights and their checksum."""
    (folder / "model.safetensors").write_bytes(weights)
    names = ("config.json", "MODEL_CARD.md", "model.safetensors")
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def refused(model, tmp_path, *words):
    """The model is refused before any work."""
    code, text = call("encode", model, ct_file(tmp_path / "a.nii"), "-o", tmp_path / "out")
    assert code == 4
    for word in words:
        assert word in text, text
    assert not (tmp_path / "out").exists()


def test_34_a_damaged_model_is_refused(model_folder, tmp_path):
    folder = copied(model_folder, tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for spoilt in (whole[:-8], whole[:-8] + b"\1" + whole[-7:]):
        weights.write_bytes(spoilt)
        refused(folder, tmp_path, "model.safetensors", "sha256")
    put(folder, whole[:-8])
    refused(folder, tmp_path, "not a readable safetensors file")
    weights.unlink()
    refused(folder, tmp_path, "missing")


def test_34_other_architectures_are_refused_with_what_differs(model_folder, tmp_path):
    folder = copied(model_folder, tmp_path)
    state, texts = load_weights(folder), load_metadata(folder)
    some = sorted(state)[3]
    more = {**state, "extra.weight": torch.ones(1)}
    refused(put(folder, weights_bytes(more, texts)), tmp_path, "1 unexpected (extra.weight)")
    less = {name: value for name, value in state.items() if name != some}
    refused(put(folder, weights_bytes(less, texts)), tmp_path, f"1 missing ({some})")
    other = {**state, some: torch.zeros(3, 3, 3)}
    refused(put(folder, weights_bytes(other, texts)), tmp_path, "1 of another shape", "(3, 3, 3)")
    broken = {**state, some: torch.full_like(state[some], float("nan"))}
    refused(put(folder, weights_bytes(broken, texts)), tmp_path, "not finite", some)


def test_34_a_newer_format_is_refused_with_both_versions(model_folder, tmp_path):
    folder = copied(model_folder, tmp_path)
    tree = json.loads(load_metadata(folder)[CONFIG_KEY])
    tree["format_version"] = 2
    newer = weights_bytes(load_weights(folder), {CONFIG_KEY: json.dumps(tree)})
    refused(put(folder, newer), tmp_path, "format version 2", "reads 1", "install a newer")


def test_34_a_damaged_state_falls_back_to_the_one_before(tmp_path, capfd):
    whole = train(patches(), config(tmp_path / "whole"))
    run = train(patches(), config(tmp_path / "run"))
    newest = run / "checkpoints" / "samples-000000000008" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    train(patches(), config(tmp_path / "run"), resume=True)
    assert "the previous checkpoint is used" in " ".join(capfd.readouterr().err.split())
    assert load_model_folder(run).sha256 == load_model_folder(whole).sha256
    for state in (run / "checkpoints").glob("*/state.safetensors"):
        state.write_bytes(b"")
    with pytest.raises(CtVaeError, match="none of its 2 state"):
        train(patches(), config(tmp_path / "run"), resume=True)


class Malicious:
    """What a pickle may do when it is loaded."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "folder"])
def test_35_a_pickle_is_never_taken_for_a_model(model_folder, tmp_path, name):
    made, path = tmp_path / "made", tmp_path / name
    if name == "folder":
        path = copied(model_folder, tmp_path)
        put(path, pickle.dumps(Malicious(made)))
        refused(path, tmp_path, "only safetensors are read")
    else:
        torch.save({"state_dict": Malicious(made)}, path)
        refused(path, tmp_path, "a file, not a model folder")
    assert not made.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_35_the_converter_refuses_what_wants_more_than_tensors(tmp_path, zipped):
    made, path = tmp_path / "made", tmp_path / "x.ckpt"
    content = {"state_dict": {"a": torch.ones(1)}, "b": Malicious(made)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    code, text = call("convert", path, "-o", tmp_path / "out")
    assert code == 4
    assert "more than tensors" in text
    assert not made.exists()
    assert not (tmp_path / "out").exists()


def test_35_pickles_are_read_in_another_process(tmp_path, monkeypatch):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1)}}, path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read in this process"))
    assert call("convert", path, "-o", tmp_path / "out")[0] == 4


class Spoiling(list):
    """Patches, of which all are spoilt from some number of takings on."""

    taken, whole = 0, 0

    def __getitem__(self, index):
        self.taken += 1
        patch = super().__getitem__(index)
        return patch if self.taken <= self.whole else torch.full_like(patch, float("nan"))


def test_37_a_step_that_is_not_finite_is_left_out_and_counted(tmp_path):
    few = [*patches(4), torch.full((1, 8, 8, 8), float("nan"))]
    settings = {"samples": 10, "batch_size": 1, "save_every": 10, "log_every": 1}
    run = train(few, config(tmp_path / "few", **settings))
    told = [line["skipped_steps"] for line in metrics(run) if "skipped_steps" in line]
    assert max(told) >= 1
    assert all(bool(w.isfinite().all()) for w in load_weights(run).values())


def test_37_many_such_steps_end_the_run_and_the_last_good_model_stays(tmp_path):
    data = Spoiling(patches())
    # Ten for the first steps, and those that measure the latent when the model is saved.
    data.whole = 10
    settings = {"samples": 60, "batch_size": 1, "save_every": 30, "log_every": 1}
    with pytest.raises(CtVaeError, match="10 steps in a row were not finite") as caught:
        train(data, config(tmp_path / "run", **settings, checkpoint_every=5))
    assert caught.value.exit_code == 1
    assert "lower training.lr" in caught.value.hint
    assert "nothing was saved" in caught.value.hint
    state = newest_checkpoint(tmp_path / "run", pytest.fail)
    assert 5 <= state.samples_seen <= 20
    assert all(bool(t.isfinite().all()) for t in state.tensors.values())


def test_37_how_a_codebook_is_used_is_logged(tmp_path):
    tree = config(tmp_path / "run").model_copy(update={"model": SMALL_CODES["vq"]})
    lines = metrics(train(patches(), tree))
    used = [key for line in lines for key in line if "codebook" in key or "perplexity" in key]
    assert used


class Dying(list):
    """Patches whose worker is killed."""

    def __getitem__(self, index):
        if torch.utils.data.get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Raising(list):
    """Patches of which one is refused."""

    def __getitem__(self, index):
        raise CtVaeError("case_17.nii.gz: is truncated", "copy it again")


def test_38_a_run_goes_on_without_the_worker_that_died(tmp_path):
    run = train(Dying(patches()), config(tmp_path / "run", workers=1))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    notes = [json.loads(line).get("note", "") for line in lines]
    assert sum("exited unexpectedly" in note for note in notes) == 1
    plain = train(patches(), config(tmp_path / "plain"))
    weights = [load_weights(folder / "model.safetensors") for folder in (run, plain)]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.mark.parametrize("workers", [0, 1])
def test_38_what_a_worker_refuses_is_reported_with_its_case(workers):
    with pytest.raises(CtVaeError) as caught:
        next(Batches(Raising(patches()), 4, 2, 0, workers)(0))
    assert str(caught.value) == "case_17.nii.gz: is truncated; copy it again"


class Broken(list):
    """Patches of a data set with a fault in its code."""

    def __getitem__(self, index):
        raise ValueError("no such key in case_17.nii.gz")


@pytest.fixture
def impatient(monkeypatch):
    """Let PyTorch wait for ending workers not 5 seconds at each turn."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)


@pytest.mark.usefixtures("impatient")
def test_38_a_fault_within_a_worker_comes_with_its_own_traceback():
    with pytest.raises(ValueError, match=r"no such key in case_17\.nii\.gz") as caught:
        next(Batches(Broken(patches()), 4, 2, 0, 1)(0))
    assert "test_run_rows.py" in str(caught.value)
    assert "in __getitem__" in str(caught.value)
    # The traceback holds the worker, which would be waited for in some later test.
    del caught
    gc.collect()


class Hanging(list):
    """Patches whose worker never comes back."""

    def __getitem__(self, index):
        if torch.utils.data.get_worker_info():
            signal.pause()
        return super().__getitem__(index)


@pytest.mark.usefixtures("impatient")
def test_38_a_worker_that_hangs_is_given_up_after_a_time(monkeypatch):
    monkeypatch.setattr("ct_vae.training.data.loader._TIMEOUT_S", 1)
    batches = Batches(Hanging(patches()), 4, 2, 0, 1)
    plain = Batches(patches(), 4, 2, 0)
    assert all(torch.equal(*pair) for pair in zip(batches(0), plain(0), strict=True))
    assert [note for note in batches.notes if "timed out after 1 seconds" in note]
