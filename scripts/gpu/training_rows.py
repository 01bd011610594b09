"""Training steps on a GPU compared with a plain loop on MONAI."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import Setting, begin_peak, bench_train, peaks, timed
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL

from ct_vae.config.load import load_config
from ct_vae.training.build import build_step
from ct_vae.training.distributed import DistributedContext

Figures = dict[str, Any]
_STEPS, _WARM_UP = 20, 3


def compared_steps(setting: Setting) -> Figures:
    """Time steps of both loops in turns, with the same network, losses and patches."""
    options = argparse.Namespace(
        width=setting.width,
        patch=32 if setting.toy else 64,
        batch=1 if setting.toy else 4,
        workers=0,
    )
    torch.manual_seed(0)
    state = MonaiAutoencoderKL(**bench_train.numbers(setting.width)).state_dict()
    shape = (options.batch, 1, *[options.patch] * 3)
    batch = (2 * torch.rand(shape) - 1).to(setting.device)
    found: Figures = {"patches": options.batch, "patch_size": options.patch}
    for name, make in (("MONAI loop", bench_train.theirs), ("ct_vae", bench_train.ours)):
        before = begin_peak(setting.device)
        peer = make(state, options, setting.device)
        found[name] = _steps(setting, lambda peer=peer: peer.step(batch), float)
        found[name] |= {"held_before_mb": before} | peaks(setting.device)
        del peer
    found["speed"] = found["MONAI loop"]["seconds"] / found["ct_vae"]["seconds"]
    return found


def large_default_model(setting: Setting, config: Path, compiled: bool = False) -> Figures:
    """Time steps of the configuration of the larger default model; patches are on the device."""
    overrides = ["training.batch_size=2"] if setting.toy else []
    run = load_config(config, [*overrides, f"training.compile={str(compiled).lower()}"])
    torch.manual_seed(0)
    before = begin_peak(setting.device)
    step = build_step(run, DistributedContext(device=setting.device))
    count = run.training.batch_size
    shape = (count, 1, *run.patch_size)
    batch = torch.randint(-1000, 1000, shape, dtype=torch.int16).to(setting.device)
    seen = iter(range(0, 10**9, count))

    found = _steps(
        setting,
        lambda: step(batch, next(seen), run.training.lr),
        lambda result: step.read(result).loss,
    )
    found |= {"held_before_mb": before} | peaks(setting.device)
    rate = count / found["seconds"]
    return found | {
        "samples_per_second": rate,
        "minutes_for_all_samples": run.training.samples / rate / 60,
    }


def _steps(setting: Setting, step: Callable[[], Any], loss_of: Callable[[Any], float]) -> Figures:
    """Return the mean time of steps after some that warm up; the host waits after the last one.

    Args:
        setting: What is measured.
        step: Trains on one batch; its numbers may still be on the device.
        loss_of: Returns the loss from the result of the last step.
    """
    results: list[Any] = []

    def steps(count: int) -> torch.Tensor:
        for _ in range(count):
            results[:] = [step()]
        return torch.empty(0)

    count = 1 if setting.toy else _STEPS
    timed(setting.device, lambda: steps(1 if setting.toy else _WARM_UP))
    seconds = timed(setting.device, lambda: steps(count))[1] / count
    return {"seconds": seconds, "last_loss": loss_of(results[0])}
