"""Training on a GPU: the same steps as on the CPU, resumed, and within a process group of NCCL."""

import json

import numpy as np
import pytest
import torch
from torch import distributed

from ct_vae.config.data import AugmentConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training import train
from ct_vae.training.build import build_step
from ct_vae.training.data.loader import Batches
from ct_vae.training.device.augmented import DrawnPatches
from ct_vae.training.device.philox import normal_numbers
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.ema import AveragedWeights
from ct_vae.training.step_metrics import UnreadStep
from tests._small import SMALL_MODEL, ct_volume

pytestmark = pytest.mark.gpu
GAN = {
    "adversarial_weight": 0.1,
    "adversarial_start_samples": 4,
    "adversarial_ramp_samples": 8,
    "discriminator_ch": 4,
    "discriminator_levels": 2,
    "r1_weight": 1.0,
    "r1_every": 2,
}


def patches(count=7):
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.normal(0, 200, (1, 8, 8, 8)).astype("f4")) for _ in range(count)]


def config(folder, **changed):
    settings = {
        "output_dir": str(folder),
        "samples": 24,
        "batch_size": 4,
        "patch_size": (8, 8, 8),
        "lr": 1e-3,
        "warmup_samples": 8,
        "ema_samples": 0,
        "log_every": 4,
        "save_every": 24,
        "checkpoint_every": 12,
        "precision": "fp32",
        **changed,
    }
    return RunConfig(model=SMALL_MODEL, training=TrainingConfig(**settings))


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def distance(folder, other):
    """The relative distance of the weights of two models."""
    a, b = (load_model_folder(each).model.state_dict() for each in (folder, other))
    apart = sum(float((a[k] - b[k]).double().square().sum()) for k in a if a[k].is_floating_point())
    total = sum(float(b[k].double().square().sum()) for k in b if b[k].is_floating_point())
    return (apart / total) ** 0.5


@pytest.mark.parametrize("more", [{}, GAN], ids=["plain", "adversarial"])
def test_steps_are_those_of_the_cpu(gpu, tmp_path, more):
    runs = {
        device: train(patches(), config(tmp_path / device[:3], **more), device=device)
        for device in ("cpu", str(gpu))
        if not (tmp_path / device[:3]).exists()
    }
    here, there = runs["cpu"], runs[str(gpu)]
    np.testing.assert_allclose(losses(there), losses(here), rtol=1e-3)
    assert distance(there, here) < 1e-3


def test_a_resumed_run_continues(gpu, tmp_path):
    whole = train(patches(), config(tmp_path / "whole", **GAN), device=str(gpu))
    part = config(tmp_path / "part", **GAN, stop_after=12)
    train(patches(), part, device=str(gpu))
    resumed = train(patches(), config(tmp_path / "part", **GAN), device=str(gpu), resume=True)
    # Sums on a GPU may be in any order.
    assert distance(resumed, whole) < 1e-3


def test_mixed_precision_learns_and_validates(gpu, tmp_path):
    run = config(tmp_path / "run", precision="auto", samples=80, save_every=80, workers=1)
    folder = train(patches(), run, [ct_volume()], device=str(gpu))
    found = losses(folder)
    assert np.isfinite(found).all()
    assert found[-1] < found[0]


def test_a_process_group_of_one_rank(gpu, is_cuda, tmp_path):
    """NCCL on a GPU; it refuses tensors of the CPU."""
    if is_cuda:
        torch.cuda.set_device(gpu)
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("nccl" if is_cuda else "gloo", store=store, rank=0, world_size=1)
    try:
        total = torch.ones(3, device=gpu)
        distributed.all_reduce(total)
        assert total.tolist() == [1.0] * 3
        world = DistributedContext(0, 1, gpu)
        world.barrier()
        assert world.gather(["a"]) == ["a"]
        alone = train(patches(), config(tmp_path / "group"))
    finally:
        distributed.destroy_process_group()
    assert distance(alone, train(patches(), config(tmp_path / "alone"), device=str(gpu))) < 1e-3


def test_noise_is_that_of_the_cpu(gpu):
    here, there = (
        normal_numbers((3, 4, 17), 7, 2**33, 1, device) for device in (torch.device("cpu"), gpu)
    )
    torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-6)


def test_patches_are_augmented_as_on_the_host(gpu):
    augment = AugmentConfig(flip=(0.5, 0.5, 0.5), rotate_degrees=20.0, zoom=0.3, resample_share=0.7)
    volume = StoredVolume.of(ct_volume((23, 20, 21)))
    data = PatchDataset([volume], (12, 8, 10), 16, 5, 0.8, augment)
    world = DistributedContext(device=gpu)
    there = list(Batches(DrawnPatches(data), 16, 4, 0, workers=2, world=world)(0))
    here = list(Batches(data, 16, 4, 0)(0))
    for a, b in zip(there, here, strict=True):
        assert a.device.type == gpu.type
        # Positions are rounded to float32, and neighbors differ by up to a thousand HU.
        torch.testing.assert_close(a.cpu(), b, rtol=0, atol=0.05)


@pytest.mark.parametrize("more", [{}, GAN], ids=["plain", "adversarial"])
def test_the_host_does_not_wait_for_a_step(gpu, is_cuda, tmp_path, more):
    world = DistributedContext(device=gpu)
    step = build_step(config(tmp_path, **more), world)
    step.generator.module.train()
    average = AveragedWeights(step.generator.module, 100)
    batch = torch.stack(patches(4)).to(gpu)
    result = step(batch, 0, 1e-3)
    if is_cuda:
        torch.cuda.set_sync_debug_mode("error")
    try:
        for seen in (4, 8, 12):
            result = step(batch, seen, 1e-3)
            applied = result.finite if isinstance(result, UnreadStep) else None
            average.follow(step.generator.module, seen + 4, 4, applied)
    finally:
        if is_cuda:
            torch.cuda.set_sync_debug_mode("default")
    assert isinstance(result, UnreadStep) == is_cuda
    assert np.isfinite(step.read(result).loss)


def test_compiled_blocks_learn_the_same(gpu, tmp_path, is_cuda):
    if not is_cuda:
        pytest.skip("compiling for the CPU has a test of its own")
    plain = train(patches(), config(tmp_path / "plain", **GAN), device=str(gpu))
    compiled = train(patches(), config(tmp_path / "compiled", compile=True, **GAN), device=str(gpu))
    np.testing.assert_allclose(losses(compiled), losses(plain), rtol=1e-3)
