import contextlib
import errno
import os
import shutil

import numpy as np
import pytest
import torch

from ct_vae.errors import InputError, OutputError
from ct_vae.training.checkpoints.checkpoint import (
    Checkpoint,
    clear_checkpoints,
    has_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)


def checkpoint(samples_seen, seed=0):
    draw = torch.Generator().manual_seed(seed)
    tensors = {
        "a.weight": torch.randn(3, 2, generator=draw),
        "b.count": torch.tensor(seed),
        "c": torch.randn(1, 2, 4, 4, 4, generator=draw).to(memory_format=torch.channels_last_3d),
    }
    return Checkpoint(samples_seen, tensors, {"save_due": True, "seed": seed})


def assert_same(a, b):
    assert (a.samples_seen, dict(a.settings)) == (b.samples_seen, dict(b.settings))
    assert a.tensors.keys() == b.tensors.keys()
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def names(run):
    return sorted(p.name for p in (run / "checkpoints").iterdir())


def test_what_is_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path, checkpoint(12))
    assert_same(newest_checkpoint(tmp_path, pytest.fail), checkpoint(12))


def test_the_last_two_are_kept_by_the_clock(tmp_path):
    for samples in (999, 1000, 10**7, 2 * 10**7):
        save_checkpoint(tmp_path, checkpoint(samples))
    assert names(tmp_path) == ["samples-000010000000", "samples-000020000000"]
    save_checkpoint(tmp_path, checkpoint(2 * 10**7, seed=1))
    assert_same(newest_checkpoint(tmp_path, pytest.fail), checkpoint(2 * 10**7, seed=1))


def test_no_folder_and_no_state_are_no_state(tmp_path):
    assert newest_checkpoint(tmp_path / "none", pytest.fail) is None
    assert not has_checkpoint(tmp_path / "none")
    (tmp_path / "checkpoints" / ".samples-000000000004.01234567.tmp").mkdir(parents=True)
    assert newest_checkpoint(tmp_path, pytest.fail) is None


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_state_is_told_and_the_older_one_taken(tmp_path, name, damage):
    save_checkpoint(tmp_path, checkpoint(4))
    path = save_checkpoint(tmp_path, checkpoint(8)) / name
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        # Of the manifest, in a digest; elsewhere anywhere.
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    told = []
    assert_same(newest_checkpoint(tmp_path, told.append), checkpoint(4))
    assert len(told) == 1
    assert "samples-000000000008" in told[0]


def test_200_flipped_bits_never_give_another_state(tmp_path):
    folder = save_checkpoint(tmp_path, checkpoint(8))
    draw = np.random.default_rng(0)
    files = sorted(folder.iterdir())
    for _ in range(200):
        path = files[draw.integers(len(files))]
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[draw.integers(len(data))] ^= 1 << int(draw.integers(8))
        path.write_bytes(flipped)
        with contextlib.suppress(InputError):
            assert_same(newest_checkpoint(tmp_path, lambda _: None), checkpoint(8))
        path.write_bytes(data)


def test_a_newer_format_is_refused_with_both_versions(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ct_vae.training.checkpoints.checkpoint._FORMAT", 2)
        save_checkpoint(tmp_path, checkpoint(8))
    told = []
    with pytest.raises(InputError, match="none of its 1 state"):
        newest_checkpoint(tmp_path, told.append)
    assert "format version 2, this version of ct_vae reads 1" in told[0]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_the_older_states(tmp_path, monkeypatch, call, number):
    """At every call of its kind in turn, until saving needs no more of them."""
    save_checkpoint(tmp_path, checkpoint(4))
    for failing in range(20):
        real, calls = getattr(os, call), iter(range(1000))

        def fails(*args, real=real, calls=calls, failing=failing, **kwargs):
            if next(calls) == failing:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            try:
                save_checkpoint(tmp_path, checkpoint(8))
            except OutputError:
                newest = newest_checkpoint(tmp_path, pytest.fail)
                # After the rename the new state is there, even if the folder could not be synced.
                assert_same(newest, checkpoint(newest.samples_seen))
                assert names(tmp_path) in (
                    ["samples-000000000004"],
                    ["samples-000000000004", "samples-000000000008"],
                )
            else:
                assert failing > 0
                return
    pytest.fail("saving never worked")


def test_clearing_removes_all_states(tmp_path):
    save_checkpoint(tmp_path, checkpoint(4))
    save_checkpoint(tmp_path, checkpoint(8))
    clear_checkpoints(tmp_path)
    assert not has_checkpoint(tmp_path)


def test_a_disk_that_gives_back_other_bytes_keeps_the_older_states(tmp_path, monkeypatch):
    for samples in (4, 8):
        save_checkpoint(tmp_path, checkpoint(samples))
    real = os.write

    def forgetful(descriptor, data):
        return real(descriptor, bytes(len(data)))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", forgetful)
        with pytest.raises(OutputError, match="differs from the data that was written"):
            save_checkpoint(tmp_path, checkpoint(12))
    assert_same(newest_checkpoint(tmp_path, lambda _: None), checkpoint(8))


def test_a_state_that_cannot_be_removed_is_told(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, checkpoint(4))

    def refuses(_, ignore_errors=False):
        if not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuses)
    with pytest.raises(OutputError, match="cannot remove the earlier"):
        clear_checkpoints(tmp_path)
