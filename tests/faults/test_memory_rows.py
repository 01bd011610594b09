"""Rows 16 and 17 of the list of faults: volumes that are larger than the memory."""

import json

import numpy as np
import pytest
import torch

import ct_vae
from ct_vae.errors import ConfigError
from ct_vae.inference import execution_plan
from ct_vae.inference.execution_plan import ExecutionPlan
from ct_vae.inference.tiling import Tiling
from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.cli._run import call, process
from tests.faults._doors import left_in


@pytest.mark.slow
def test_16_a_long_volume_stays_below_its_cap_and_gives_the_same(model_folder, tmp_path):
    write_volume(ct_volume((96, 96, 600)), tmp_path / "long.nii.gz")
    done = process("encode", model_folder, tmp_path / "long.nii.gz", "-o", tmp_path / "free")
    assert done.returncode == 0, done.stderr
    free = json.loads((tmp_path / "free" / "long_latent.json").read_text())
    out = tmp_path / "capped"
    done = process(
        *("encode", model_folder, tmp_path / "long.nii.gz", "-o", out),
        *("--max-memory-gb", "0.9", "--verbose"),
    )
    assert done.returncode == 0, done.stderr
    assert "GiB" in done.stderr or "MiB" in done.stderr
    capped = json.loads((out / "long_latent.json").read_text())
    assert capped["run"]["peak_memory_mb"] < 0.9 * 1024
    assert capped["tiling"]["method"] == free["tiling"]["method"] == "exact"
    a, b = (ct_vae.io.read_latent(p / "long_latent.nii.gz") for p in (tmp_path / "free", out))
    np.testing.assert_allclose(a.array, b.array, atol=1e-3)


def test_16_a_cap_that_cannot_be_kept_is_reported_before_work(model_folder, tmp_path):
    write_volume(ct_volume((40, 40, 40)), tmp_path / "a.nii.gz")
    out = tmp_path / "out"
    code, text = call(
        "encode", model_folder, tmp_path / "a.nii.gz", "-o", out, "--max-memory-gb", "0.01"
    )
    assert code in {2, 4}, text
    assert "--max-memory-gb" in text
    assert left_in(out) <= {"failures.jsonl"}


def test_17_memory_that_runs_out_fails_the_case_and_the_batch_goes_on(
    model_folder, tmp_path, monkeypatch
):
    for k, name in enumerate("ab"):
        write_volume(ct_volume(seed=k), tmp_path / "in" / f"{name}.nii.gz")
    from ct_vae.models.encoder import Encoder

    forward, first = Encoder.forward, []

    def tight(self, x):
        if not first:
            first.append(x)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x)

    monkeypatch.setattr(Encoder, "forward", tight)
    out = tmp_path / "out"
    code, text = call("encode", model_folder, tmp_path / "in", "-o", out, "--tiling", "whole")
    assert code == 8, text
    assert "memory" in text
    assert {n for n in left_in(out) if n.endswith(".nii.gz")} == {"b_latent.nii.gz"}
    (line,) = (out / "failures.jsonl").read_text().splitlines()
    assert "memory" in json.loads(line)["cause"]


@pytest.fixture
def full_device(monkeypatch):
    """A device whose memory runs out on the next few passes, by an error that PyTorch raises."""
    real, left = execution_plan.run_exact, []

    def run(steps, given, plan, device, sink):
        if left:
            left.pop()
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(steps, given, plan, device, sink)

    monkeypatch.setattr(execution_plan, "run_exact", run)
    return left


def test_17_slabs_that_the_device_does_not_hold_are_halved_and_recorded(
    model_folder, tmp_path, full_device
):
    write_volume(ct_volume(), tmp_path / "in" / "a.nii.gz")
    command = ("encode", model_folder, tmp_path / "in", "-o")
    assert call(*command, tmp_path / "whole")[0] == 0
    full_device.extend([None, None])
    code, text = call(*command, tmp_path / "out")
    assert code == 0, text
    assert not full_device
    assert "halved" in text
    record = json.loads((tmp_path / "out" / "a_latent.json").read_text())
    assert sum("halved" in warning for warning in record["warnings"]) == 2
    a, b = (ct_vae.io.read_latent(tmp_path / p / "a_latent.nii.gz") for p in ("whole", "out"))
    np.testing.assert_allclose(a.array, b.array, atol=1e-3)


@pytest.mark.parametrize("fallback", [True, False])
def test_17_what_no_slab_brings_through_goes_to_the_cpu_if_that_is_allowed(
    model_folder, tmp_path, monkeypatch, fallback
):
    for k, name in enumerate("ab"):
        write_volume(ct_volume(seed=k), tmp_path / "in" / f"{name}.nii.gz")
    command = ("encode", model_folder, tmp_path / "in", "-o")
    assert call(*command, tmp_path / "whole")[0] == 0
    real, first = ExecutionPlan.__call__, []

    def tight(self, volume):
        if not first:
            first.append(self)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, volume)

    monkeypatch.setattr(ExecutionPlan, "__call__", tight)
    out = tmp_path / "out"
    code, text = call(*command, out, *(("--fallback", "cpu") if fallback else ()))
    if not fallback:
        assert code == 8, text
        assert left_in(out) == {"b_latent.nii.gz", "b_latent.json", "failures.jsonl"}
        return
    assert code == 0, text
    assert "ran on the CPU" in text
    told = [json.loads((out / f"{n}_latent.json").read_text())["warnings"] for n in "ab"]
    assert [len(t) for t in told] == [1, 0]
    assert "ran on the CPU" in told[0][0]
    for name in "ab":
        a, b = (
            ct_vae.io.read_latent(p / f"{name}_latent.nii.gz") for p in (tmp_path / "whole", out)
        )
        np.testing.assert_array_equal(a.array, b.array)


def test_17_thinner_slabs_are_taken_down_to_one_slice(model_folder):
    codec = ct_vae.load_codec(model_folder, "cpu")
    codec.tiling = Tiling("exact", max_memory_gb=0.01)
    with pytest.raises(ConfigError, match="thinnest slabs"):
        codec.encode(ct_volume((40, 40, 40)))
