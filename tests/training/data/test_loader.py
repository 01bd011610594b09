import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset
from ct_vae.errors import ConfigError, InputError
from ct_vae.training.data.loader import Batches, stack_images
from ct_vae.training.data.order import SeededOrder
from ct_vae.training.distributed import DistributedContext
from tests._small import ct_volume

ROOT = Path(__file__).parents[3]


class Numbers(torch.utils.data.Dataset):
    """Item ``i`` is an image of ``i``."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.full((1, 2), float(index))


def numbers(batches, start=0):
    return [batch[:, 0, 0].tolist() for batch in batches(start)]


def test_ranks_share_the_batches_of_one():
    alone = numbers(Batches(Numbers(7), 22, 4, seed=3))
    ranks = [
        numbers(Batches(Numbers(7), 22, 4, 3, world=DistributedContext(r, 2))) for r in range(2)
    ]
    assert [a + b for a, b in zip(*ranks, strict=True)] == alone
    assert [i for batch in alone for i in batch] == list(SeededOrder(7, 22, 3))


@pytest.mark.parametrize("start", [0, 4, 12, 20, 22])
def test_a_run_that_goes_on_sees_what_is_left(start):
    batches = Batches(Numbers(7), 22, 4, seed=3)
    assert numbers(batches, start) == numbers(batches)[-(-start // 4) :]


def test_patches_are_numbered_by_their_place_in_the_run():
    volume = StoredVolume.of(ct_volume())
    patches = PatchDataset([volume], (4, 4, 4), 9, seed=2, foreground_share=0.5)
    parts = [Batches(patches, 9, 4, seed=5)(start) for start in (0, 8)]
    for start, batches in zip((0, 8), parts, strict=True):
        expected = torch.stack([patches[i] for i in range(start, 9)])
        assert torch.equal(torch.cat(list(batches)), expected)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    numbers(Batches(Numbers(5), 10, 2, 0))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_keep_the_order(workers):
    batches = Batches(Numbers(5), 10, 2, 0, workers)
    assert numbers(batches) == numbers(Batches(Numbers(5), 10, 2, 0))


@pytest.mark.parametrize(("samples", "batch_size"), [(12, 3), (7, 4)])
def test_ranks_that_cannot_share_evenly_are_refused(samples, batch_size):
    with pytest.raises(ConfigError, match="not multiples of 2 ranks"):
        Batches(Numbers(5), samples, batch_size, 0, world=DistributedContext(0, 2))


def test_meta_tensors_and_mixed_types_become_plain_float32():
    image = MetaTensor(torch.ones(1, 2), affine=torch.eye(4))
    stacked = stack_images([{"image": image}, torch.zeros(1, 2, dtype=torch.int16)])
    assert type(stacked) is torch.Tensor
    assert stacked.dtype == torch.float32
    assert stack_images([torch.zeros(1, 2, dtype=torch.int16)]).dtype == torch.int16


def test_items_without_an_image_are_refused():
    with pytest.raises(InputError, match=r"got \['NoneType'\]"):
        stack_images([{"label": torch.ones(1)}])


class Refusing(Numbers):
    def __getitem__(self, index):
        raise InputError("case 3 is refused", "mend it")


class Dying(Numbers):
    def __getitem__(self, index):
        if index == 3 and torch.utils.data.get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Hanging(Numbers):
    def __getitem__(self, index):
        if index == 3 and torch.utils.data.get_worker_info():
            time.sleep(1000)
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_refusal_comes_out_of_a_worker_as_it_is(workers):
    with pytest.raises(InputError) as caught:
        next(Batches(Refusing(4), 4, 2, 0, workers)(0))
    assert (caught.value.cause, caught.value.hint) == ("case 3 is refused", "mend it")


def test_without_a_worker_that_died_the_same_batches_come():
    batches = Batches(Dying(8), 8, 2, 0, workers=1)
    assert numbers(batches) == numbers(Batches(Numbers(8), 8, 2, 0))
    (note,) = batches.notes
    assert "exited unexpectedly" in note
    assert "lower training.workers" in note


def test_nobody_waits_for_ever_for_a_worker_that_hangs(monkeypatch):
    monkeypatch.setattr("ct_vae.training.data.loader._TIMEOUT_S", 2)
    # For so long PyTorch waits that a worker ends by itself.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
    others = active_children()
    batches = Batches(Hanging(8), 8, 2, 0, workers=1)
    assert numbers(batches) == numbers(Batches(Numbers(8), 8, 2, 0))
    (note,) = batches.notes
    assert "timed out after 2 seconds" in note
    assert set(active_children()) <= set(others)


class Signalling(Numbers):
    def __getitem__(self, index):
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(os.getpid(), number)
        return super().__getitem__(index)


def test_signals_to_the_whole_group_leave_workers_at_work():
    assert len(numbers(Batches(Signalling(4), 4, 2, 0, workers=1))) == 2


LEFT = """
import os, signal, sys
from ct_vae.training.data.loader import Batches
from ct_vae.training.distributed import DistributedContext
from tests.training.data.test_loader import Broken, Numbers

ended = {}
for data in (Numbers, Broken):
    if not (child := os.fork()):
        signal.alarm(100)
        left = Batches(data(100), 100, 2, 0, 1, DistributedContext())(0)
        next(left)
        sys.exit(3)
    ended[data.__name__] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(ended)
"""


class Broken(Numbers):
    def __getitem__(self, index):
        raise ValueError("a fault of the data set")


def test_workers_that_nobody_has_ended_do_not_outlast_the_trainer():
    """As after an error whose traceback still holds them."""
    ended = subprocess.run(
        [sys.executable, "-c", LEFT],
        timeout=120,
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "{'Numbers': 3, 'Broken': 1}\n"
    assert ended.stderr.count("ValueError: a fault of the data set") == 1
