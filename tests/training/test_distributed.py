"""Two processes that train one model, over gloo, as ``torchrun`` would start them."""

import json
import signal
import socket
import time

import pytest
import torch
from torch import distributed

from ct_vae.errors import ConfigError
from ct_vae.io import write_volume
from ct_vae.training import train
from ct_vae.training.checkpoints.checkpoint import newest_checkpoint
from ct_vae.training.distributed import DistributedContext, distributed_context
from tests._forked import Program
from tests._small import ct_volume
from tests.training.checkpoints.test_resume import config
from tests.training.test_trainer import metrics

EQUAL = {"samples": 24, "save_every": 24, "micro_batch_size": None}
# Each rank counts its own samples since the last step; what matters is the one over the other.
GATHERED, COUNTED = (f"discriminator.module.averages.{n}" for n in ("gathered", "samples"))


def start(path, *options, ranks=2):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        Program(
            *("train", path, "--device", "cpu", *options),
            **(meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)}),
        )
        for rank in range(ranks)
    ]


def run_file(folder, kind, **changes):
    tree = config(folder, kind, **changes).as_json()
    # Masks belong to the first sample of a micro-batch, which ranks cut differently.
    tree["model"]["dropout"] = 0.0
    for name in ("train", "val"):
        files = [folder.parent / f"{name}_{seed}.nii.gz" for seed in range(2)]
        for seed, file in enumerate(files):
            write_volume(ct_volume((20, 18, 16), seed=seed), file)
        tree["data"][name] = [str(file) for file in files]
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(tree))
    return path


def finish(programs):
    done = [program.finish() for program in programs]
    return [program.returncode for program in done], done


def tensors(folder):
    return dict(newest_checkpoint(folder, pytest.fail).tensors)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_two_ranks_are_one_rank_with_the_same_batch(tmp_path, kind):
    """With adversary, adaptive weight, R1 and a codebook that is drawn and revived."""
    path = run_file(tmp_path / "two", kind, **EQUAL)
    codes, outputs = finish(start(path))
    assert codes == [0, 0], outputs
    train(None, run_file(tmp_path / "one", kind, **EQUAL), device="cpu")
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert one.keys() == two.keys()
    if kind == "kl":
        ours, theirs = (t.pop(GATHERED) / t.pop(COUNTED) for t in (one, two))
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-5)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)
    for a, b in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert a.keys() == b.keys()
        assert a.get("loss", 0) == pytest.approx(b.get("loss", 0), rel=1e-4)


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_and_they_go_on_together(tmp_path):
    path = run_file(tmp_path / "run", "kl", samples=4000, save_every=4000)
    programs = start(path)
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") > 2):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    programs[1].send_signal(signal.SIGTERM)
    codes, outputs = finish(programs)
    assert codes == [75, 75], outputs
    reached = newest_checkpoint(tmp_path / "run", pytest.fail).samples_seen
    assert 0 < reached < 4000
    changed = ("--set", f"training.samples={reached + 8}")
    codes, outputs = finish(start(path, "--resume", *changed))
    assert codes == [0, 0], outputs
    assert newest_checkpoint(tmp_path / "run", pytest.fail).samples_seen == reached + 8


def test_alone_everything_is_as_it_was():
    world, value = DistributedContext(), torch.ones(2)
    assert world.is_main_process
    assert world.mean(value) is value
    assert world.any(True)
    assert not world.any(False)
    assert world.gather([1, 2]) == [1, 2]


def test_one_gpu_for_all_ranks_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="every rank to one place"), distributed_context("cuda:0"):
        pass


def test_means_leave_what_they_are_of_as_it_was(monkeypatch):
    """The other rank holds three times as much."""
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(4))
    own = torch.tensor([1.0, 2.0])
    assert DistributedContext(0, 2).mean(own).tolist() == [2.0, 4.0]
    assert own.tolist() == [1.0, 2.0]


def test_gradients_become_means_whatever_their_types_and_layouts(monkeypatch):
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(4))
    wide, half = torch.arange(96.0).view(2, 3, 2, 2, 4), torch.arange(4).to(torch.bfloat16)
    parameters = [
        torch.nn.Parameter(value.clone()) for value in (wide, half, torch.ones(3), wide[0])
    ]
    parameters[0].grad = wide.to(memory_format=torch.channels_last_3d)
    parameters[1].grad, parameters[3].grad = half.clone(), wide[0].clone()
    DistributedContext(0, 2).mean_gradients(parameters)
    assert parameters[2].grad is None
    for parameter, expected in ((0, wide), (1, half), (3, wide[0])):
        assert torch.equal(parameters[parameter].grad, 2 * expected)


def test_one_rank_is_enough_for_a_flag(monkeypatch):
    def other_is_asked(told, op):
        assert op == distributed.ReduceOp.MAX
        told.clamp_(min=1)

    monkeypatch.setattr(distributed, "all_reduce", other_is_asked)
    assert DistributedContext(0, 2).any(False)


def test_a_group_that_exists_is_used_and_left_as_it_is():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        with distributed_context("cpu") as world:
            assert (world.rank, world.size) == (0, 1)
        assert distributed.is_initialized()
    finally:
        distributed.destroy_process_group()
