"""encode and decode of volumes that several processes compute together."""

import socket

import numpy as np
import pytest

import ct_vae
from ct_vae.io import ReadOptions, write_volume
from tests._forked import Program
from tests._small import ct_volume
from tests.cli._run import call

# Volumes of an untrained model do not look like CT.
FORCE = ReadOptions(force=True)


def together(size, *words):
    """Run a command as torchrun starts it; return all processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = [
        Program(
            *words,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(size)
    ]
    return [program.finish() for program in running]


def test_latents_and_volumes_are_those_of_one_process(model_folder, tmp_path):
    for name in ("a", "b"):
        write_volume(ct_volume((36, 24, 20)), tmp_path / "cts" / f"{name}.nii.gz")
    (tmp_path / "cts" / "c.nii.gz").write_bytes(b"broken")
    code, text = call("encode", model_folder, tmp_path / "cts", "-o", tmp_path / "one")
    words = ("encode", model_folder, tmp_path / "cts", "-o", tmp_path / "both")
    for done in together(2, *words, "--split", "volume", "--dtype", "float32"):
        assert done.returncode in (code, 0), done.stderr
    for name in ("a", "b"):
        one, both = (
            ct_vae.io.read_latent(tmp_path / folder / f"{name}_latent.nii.gz")
            for folder in ("one", "both")
        )
        np.testing.assert_allclose(both.array, one.array, atol=2e-3)
    latents = (tmp_path / "both" / f"{name}_latent.nii.gz" for name in ("a", "b"))
    words = ("decode", model_folder, *latents, "-o", tmp_path / "decoded")
    for done in together(2, *words, "--split", "volume"):
        assert done.returncode == 0, done.stderr
    code, text = call("decode", model_folder, tmp_path / "both", "-o", tmp_path / "alone")
    assert code == 0, text
    for name in ("a", "b"):
        one, both = (
            ct_vae.io.read_volume(tmp_path / folder / f"{name}_decoded.nii.gz", FORCE).voxels
            for folder in ("alone", "decoded")
        )
        # Halves may round to either side.
        assert np.abs(one.astype(int) - both).max() <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "start them with: torchrun"),
        (("--shard", "0/2"), "excludes --shard and --fallback"),
        (("--tiling", "whole"), "for exact tiling of 3-D models"),
    ],
)
def test_what_cannot_be_divided_is_refused(words, reason, model_folder, tmp_path):
    write_volume(ct_volume((16, 16, 16)), tmp_path / "a.nii.gz")
    out = ("-o", tmp_path / "out", "--split", "volume")
    code, text = call("encode", model_folder, tmp_path / "a.nii.gz", *out, *words)
    assert code == 2
    assert reason in text
