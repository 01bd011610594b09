"""Training steps on a GPU beside a plain loop on MONAI."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from measuring import Setting, begin_peak, monai_numbers, peaks, timed
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL

from ct_vae.config.load import load_config
from ct_vae.training.build import build_step
from ct_vae.training.distributed import DistributedContext

sys.path.append(str(Path(__file__).parents[1]))
import bench_train

Figures = dict[str, Any]
_STEPS = 10


def compared_steps(setting: Setting) -> Figures:
    """Time steps of both loops in turns, with the same network, losses and patches."""
    options = argparse.Namespace(
        width=setting.width,
        patch=32 if setting.toy else 64,
        batch=1 if setting.toy else 4,
        workers=0,
    )
    torch.manual_seed(0)
    state = MonaiAutoencoderKL(**monai_numbers(setting.width)).state_dict()
    shape = (options.batch, 1, *[options.patch] * 3)
    batch = (2 * torch.rand(shape) - 1).to(setting.device)
    found: Figures = {"patches": options.batch, "patch_size": options.patch}
    for name, make in (("MONAI loop", bench_train.theirs), ("ct_vae", bench_train.ours)):
        before = begin_peak(setting.device)
        peer = make(state, options, setting.device)
        found[name] = _steps(setting, lambda peer=peer: torch.tensor(float(peer.step(batch))))
        found[name] |= {"held_before_mb": before} | peaks(setting.device)
        del peer
    found["speed"] = found["MONAI loop"]["seconds"] / found["ct_vae"]["seconds"]
    return found


def large_default_model(setting: Setting, config: Path) -> Figures:
    """Time steps of the configuration of the larger default model; patches are on the device."""
    overrides = ["training.batch_size=2"] if setting.toy else []
    run = load_config(config, overrides)
    torch.manual_seed(0)
    before = begin_peak(setting.device)
    step = build_step(run, DistributedContext(device=setting.device))
    count = run.training.batch_size
    shape = (count, 1, *run.patch_size)
    batch = torch.randint(-1000, 1000, shape, dtype=torch.int16).to(setting.device)
    seen = iter(range(0, 10**9, count))

    def one() -> torch.Tensor:
        metrics = step.read(step(batch, next(seen), run.training.lr))
        return torch.tensor(float(metrics.loss) if metrics else float("nan"))

    found = _steps(setting, one) | {"held_before_mb": before} | peaks(setting.device)
    rate = count / found["seconds"]
    return found | {
        "samples_per_second": rate,
        "minutes_for_all_samples": run.training.samples / rate / 60,
    }


def _steps(setting: Setting, step: Any) -> Figures:
    """Return the median time of steps after two that warm up."""
    count = 1 if setting.toy else _STEPS
    for _ in range(1 if setting.toy else 2):
        timed(setting.device, step)
    each = [timed(setting.device, step) for _ in range(count)]
    return {
        "seconds": statistics.median(seconds for _, seconds in each),
        "all_seconds": [seconds for _, seconds in each],
        "last_loss": float(each[-1][0]),
    }
