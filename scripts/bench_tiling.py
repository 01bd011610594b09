"""Exact streaming beside blended windows and whole volumes, ours and MONAI's, in one run.

Usage: python scripts/bench_tiling.py [--sides X Y Z] [--half encode|decode] [--json FILE] ...

All peers but MAISI's have the same weights. Each run is a process of its own, so that its peak of
resident memory is its own; peers take turns, so that whatever else the machine does meets all.
``error`` is the relative 2-norm to what MONAI's model gives for the whole volume. ``share`` is
the rate of the operations that a peer does, over the rate of a matrix product on this machine.
``CPU s`` is the time of all cores, which other programs on the machine affect little, and ``ratio``
compares it with that of MONAI's windows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import conditions
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from ct_vae.convert_weights import import_weights
from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.tiling import Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter

Run = Callable[[torch.Tensor], torch.Tensor]
REFERENCE = "MONAI whole"
FORMATS = (
    REFERENCE,
    "MONAI windows",
    "MAISI windows",
    "ct_vae exact",
    "ct_vae blend",
    "ct_vae whole",
)
FACTOR, LATENT_CHANNELS, COUNTED_SIDE = 4, 4, 32


def numbers(channels: list[int]) -> dict[str, Any]:
    """Arguments of MONAI's constructor: two blocks per level, no attention."""
    return {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "num_res_blocks": (2,) * len(channels),
        "channels": tuple(channels),
        "attention_levels": (False,) * len(channels),
        "latent_channels": LATENT_CHANNELS,
        "norm_num_groups": min(32, *channels),
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }


def runner(peer: str, options: argparse.Namespace, sides: list[int]) -> Run:
    """What a peer does with an image of these sides, or its latent, once all is prepared."""
    arguments = numbers(options.channels)
    torch.manual_seed(0)
    theirs = MonaiAutoencoderKL(**arguments).eval()
    encodes = options.half == "encode"
    if peer.startswith("ct_vae"):
        network = VolumeAdapter(import_weights(theirs.state_dict(), arguments).eval())
        tiling = Tiling(
            peer.split()[1],
            options.roi,
            options.overlap,
            max_memory_gb=options.max_memory_gb,
            batch=options.batch if peer.endswith("blend") else None,
        )
        passage = plan_execution(network, options.half, tiling, tuple(sides))
        # Of moments, the means, which is what MONAI's encoder gives.
        return lambda x: passage(x)[:, :LATENT_CHANNELS]
    if peer.startswith("MAISI"):
        theirs = _maisi(arguments)
    whole = (lambda x: theirs.encode(x)[0]) if encodes else theirs.decode
    if peer.endswith("whole"):
        return whole
    side = options.roi if encodes else options.roi // FACTOR
    inferer = SlidingWindowInferer(side, options.batch, options.overlap, mode="gaussian")
    return lambda x: inferer(x, whole)


def _maisi(arguments: dict[str, Any]) -> nn.Module:
    from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

    renamed = {"num_channels" if k == "channels" else k: v for k, v in arguments.items()}
    return AutoencoderKlMaisi(**renamed, num_splits=1, norm_float16=False).eval()


def given(options: argparse.Namespace, sides: list[int]) -> torch.Tensor:
    """Noise in place of an image or a latent: no peer's time depends on the values."""
    generator = torch.Generator().manual_seed(1)
    if options.half == "encode":
        return torch.rand(1, 1, *sides, generator=generator)
    return torch.randn(1, LATENT_CHANNELS, *[n // FACTOR for n in sides], generator=generator)


def work(options: argparse.Namespace) -> None:
    """One run of one peer, as a process: a line of JSON, and the result where it is asked for."""
    small = [COUNTED_SIDE] * 3
    runner(options.worker, options, small)(given(options, small))
    run = runner(options.worker, options, options.sides)
    x = given(options, options.sides)
    started, cpu = time.perf_counter(), _cpu_seconds()
    result = run(x)
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    if options.keep:
        np.save(options.keep, result.numpy())
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak / 1024}))


def _cpu_seconds() -> float:
    """Return the time that all threads of this process have computed."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def operations(peer: str, options: argparse.Namespace) -> float:
    """Floating-point operations of convolutions and products, from those for a small volume.

    Windows are counted by what they cover, several times where they overlap.
    """
    # Called directly by exact streaming, and unknown to PyTorch's counter; given as shapes.
    mkldnn = {
        torch.ops.aten.mkldnn_convolution: (
            lambda x, w, *_, out_shape: conv_flop_count(x, w, out_shape)
        )
    }
    small = [COUNTED_SIDE] * 3
    run = runner(peer.replace("windows", "whole").replace("blend", "whole"), options, small)
    with FlopCounterMode(display=False, custom_mapping=mkldnn) as counter, torch.no_grad():
        run(given(options, small))
    per_voxel = counter.get_total_flops() / COUNTED_SIDE**3
    voxels = float(np.prod(options.sides))
    if peer.endswith(("windows", "blend")):
        step = options.roi * (1 - options.overlap)
        voxels = float(
            np.prod(
                [options.roi * max(1, np.ceil((n - options.roi) / step) + 1) for n in options.sides]
            )
        )
    return per_voxel * voxels


def product_rate(side: int = 2048, repetitions: int = 5) -> float:
    """Operations per second of a product of two float32 matrices: the best of some."""
    a = torch.randn(side, side)
    seconds = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def spawn(peer: str, options: argparse.Namespace, keep: Path | None) -> dict[str, float]:
    """Run a peer once in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", peer]
    command += ["--keep", str(keep)] if keep else []
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All peers in turns."""
    runs: dict[str, list[dict[str, float]]] = {peer: [] for peer in options.peers}
    errors: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.repetitions):
            for peer in options.peers:
                keep = Path(folder) / f"{peer}.npy" if turn == 0 else None
                runs[peer].append(spawn(peer, options, keep))
                print(f"{peer}: {runs[peer][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
        kept = {peer: Path(folder) / f"{peer}.npy" for peer in options.peers}
        if REFERENCE in kept:
            whole = np.load(kept[REFERENCE]).astype(np.float64)
            for peer in (p for p in options.peers if not p.startswith("MAISI")):
                errors[peer] = float(
                    np.linalg.norm(np.load(kept[peer]) - whole) / np.linalg.norm(whole)
                )
    rate = product_rate()
    rows = {peer: _row(peer, runs[peer], errors.get(peer), rate, options) for peer in options.peers}
    return {"product_gflops": rate / 1e9, "peers": rows}


def _row(
    peer: str,
    runs: list[dict[str, float]],
    error: float | None,
    rate: float,
    options: argparse.Namespace,
) -> dict[str, Any]:
    seconds, count = statistics.median(r["seconds"] for r in runs), operations(peer, options)
    return {
        "seconds": [r["seconds"] for r in runs],
        "median_seconds": seconds,
        "cpu_seconds": [r["cpu_seconds"] for r in runs],
        "median_cpu_seconds": statistics.median(r["cpu_seconds"] for r in runs),
        "peak_mb": max(r["peak_mb"] for r in runs),
        "error": error,
        "gflop": count / 1e9,
        "share": count / seconds / rate,
    }


def show(report: dict[str, Any]) -> None:
    """Print the peers as a table."""
    windows = report["peers"].get("MONAI windows")
    print(f"matrix product: {report['product_gflops']:.0f} GFLOP/s")
    print(
        f"{'':16s}{'seconds':>9s}{'CPU s':>9s}{'ratio':>7s}{'peak MB':>9s}{'error':>10s}"
        f"{'GFLOP':>9s}{'share':>7s}"
    )
    for peer, row in report["peers"].items():
        error = "-" if row["error"] is None else f"{row['error']:.1e}"
        cpu = row["median_cpu_seconds"]
        ratio = f"{cpu / windows['median_cpu_seconds']:.2f}" if windows else "-"
        print(
            f"{peer:16s}{row['median_seconds']:9.1f}{cpu:9.1f}{ratio:>7s}{row['peak_mb']:9.0f}"
            f"{error:>10s}{row['gflop']:9.0f}{row['share']:7.0%}"
        )


def main() -> None:
    """Compare the peers, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs=3, default=[192, 192, 128])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--half", choices=("encode", "decode"), default="encode")
    parser.add_argument("--roi", type=int, default=64, help="side of a window in voxels")
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=1, help="windows computed at once")
    parser.add_argument("--max-memory-gb", type=float, help="for ct_vae exact")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each peer")
    parser.add_argument(
        "--peers", nargs="+", choices=FORMATS, default=list(FORMATS), metavar="PEER"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", choices=FORMATS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    with torch.inference_mode():
        if options.worker:
            work(options)
            return
        report = compare(options)
    show(report)
    if options.json:
        settings = {k: v for k, v in vars(options).items() if k not in ("json", "worker", "keep")}
        report = {"conditions": conditions(options.repetitions), "settings": settings, **report}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
