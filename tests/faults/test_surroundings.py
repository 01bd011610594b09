"""Hostile surroundings: no home, no locale, no assertions, no network, no GPU, a wrong clock."""

import io
import json
import os
import sys

import pytest

from ct_vae.cli.main import run
from ct_vae.io import read_latent, write_volume
from ct_vae.models.model_folder import load_model_folder
from tests._small import ct_volume
from tests.cli._run import call, process
from tests.cli.commands.test_train import run_file
from tests.faults._doors import ct_file, left_in

# No connection can be made, and nothing of this package runs code from text or reads a pickle.
GUARD = """
import os, sys
PACKAGE = os.environ["GUARDED"]
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError("no network: " + event)
    if event in ("pickle.find_class", "exec", "compile"):
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
            if "site-packages" in frame.f_code.co_filename or "<" in frame.f_code.co_filename[:1]:
                return
            if "/lib/python" in frame.f_code.co_filename:
                return
            frame = frame.f_back
        if frame is not None and frame.f_code.co_name != "<module>":
            with open(os.environ["SEEN"], "a") as file:
                file.write(f"{event} {frame.f_code.co_filename}:{frame.f_lineno}\\n")
sys.addaudithook(hook)
"""


@pytest.fixture
def hostile(tmp_path, repository):
    """Environment of a process with all of it at once."""
    # A file: even root can write nothing below it.
    home = tmp_path / "home"
    home.write_text("")
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "seen").write_text("")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "GUARDED": str(repository / "ct_vae"),
        "SEEN": str(tmp_path / "seen"),
        "PYTHONPATH": os.pathsep.join([str(guard), str(repository)]),
    }


@pytest.mark.slow
def test_every_command_works_in_hostile_surroundings_without_pickle_exec_or_network(
    hostile, tmp_path
):
    place = tmp_path / "a b.c äö"
    write_volume(ct_volume((20, 18, 16)), place / "in" / "ct ü.nii.gz")
    model = {"down_channels": [4, 8], "num_res_blocks": 1, "mid_attn": False, "norm_groups": 2}
    training = {"output_dir": "run", "samples": 2, "batch_size": 1}
    training |= {"patch_size": [8, 8, 8], "warmup_samples": 1, "save_every": 2, "log_every": 1}
    data = {"phantoms": {"train": 1, "val": 1, "spacing_mm": [16.0, 16.0, 16.0]}}
    tree = {"model": model, "training": training, "data": data}
    (place / "rün.json").write_text(json.dumps(tree))
    commands = [
        ("train", place / "rün.json"),
        ("encode", place / "run", place / "in", "-o", place / "latents"),
        ("decode", place / "run", place / "latents", "-o", place / "back"),
        ("evaluate", place / "run", place / "in", "-o", place / "report"),
    ]
    for command in commands:
        # Only one of them: all libraries are compiled anew for it.
        optimised = {"PYTHONOPTIMIZE": "1"} if command[0] == "encode" else {}
        done = process(*command, env=hostile | optimised, cwd=place)
        assert done.returncode == 0, done.stderr
    assert load_model_folder(place / "run").config.name == "rün"
    assert read_latent(place / "latents" / "ct ü_latent.nii.gz").array.shape[0] == 4
    assert left_in(place / "back") == {"ct ü_decoded.nii.gz"}
    assert (tmp_path / "seen").read_text() == ""


def test_a_path_that_the_surroundings_cannot_name_is_one_line(tmp_path, monkeypatch, capsys):
    real = os.mkdir

    def mkdir(path, *mode):
        # As it is where the encoding of file names is ASCII.
        os.fspath(path).encode("ascii")
        real(path, *mode)

    (tmp_path / "ün").mkdir()
    monkeypatch.setattr("sys.argv", ["ct-vae", "train", str(run_file(tmp_path / "ün"))])
    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(SystemExit) as done:
        run()
    assert done.value.code == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "\\xfcn/run' cannot be written in the encoding ascii of this environment" in told
    assert told.endswith("set PYTHONUTF8=1 or a UTF-8 locale such as LC_ALL=C.UTF-8")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_that_cannot_show_a_name_ends_nothing(monkeypatch, encoding):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, "strict") for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr("sys.argv", ["ct-vae", "--version"])
    with pytest.raises(SystemExit):
        run()
    for stream in streams:
        print("ü \udcff", file=stream, flush=True)
        assert b"\\udcff" in stream.buffer.getvalue()


def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(model_folder, tmp_path):
    for name in ("cuda:7", "cuda", "tpu"):
        if name == "cuda" and _has_gpu():
            continue
        path = ct_file(tmp_path / "a.nii")
        code, text = call("encode", model_folder, path, "-o", tmp_path / "out", "--device", name)
        assert code == 2, text
        assert name in text
        assert not (tmp_path / "out").exists()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_a_clock_that_is_set_back_makes_nothing_old_or_new(model_folder, tmp_path):
    path = ct_file(tmp_path / "a.nii")
    out = tmp_path / "out"
    assert call("encode", model_folder, path, "-o", out)[0] == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    # The source is newer than the latent by its time, and the same by its content.
    os.utime(path, (2**32, 2**32))
    for each in out.iterdir():
        os.utime(each, (0, 0))
    code, text = call("encode", model_folder, path, "-o", out)
    assert code == 0
    assert "done already" in text
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    # And the other way round: another content with an older time.
    ct_file(path, ct_volume(seed=5).voxels)
    os.utime(path, (0, 0))
    assert call("encode", model_folder, path, "-o", out)[0] == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} != before
