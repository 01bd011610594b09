"""Speed and memory beside those of peers, measured in one run on the machine at hand.

Usage: python scripts/bench.py NAME... [--json FILE] [--threads N] [--repetitions N]
       python scripts/bench.py cache|coder|io|tiling|train|evaluate ...   has options, see --help

Peers take turns, so that whatever else the machine does meets all of them; the median of the
repetitions counts. ``agreement`` is the relative error to the first peer's result.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks import UpSample
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.memory_format import CHANNELS_LAST
from ct_vae.blocks.upsample import UpsampleND
from ct_vae.convert_weights import import_weights
from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.tiling import Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter

Peers = dict[str, Callable[[], torch.Tensor]]
PACKAGES = ("ct_vae", "torch", "monai", "numpy")


@dataclass
class Case:
    """One piece of work done by several peers.

    Attributes:
        name: What is done, on what.
        seconds: Of every repetition, by peer.
        median_seconds: By peer.
        speed: How many times as fast as the first peer each is, by medians.
        agreement: 2-norm of the difference to the first peer's result over that of the result.
        memory_mb: Peak above what was held before, by peer; empty where it was not measured.
        notes: Numbers to read the others by.
    """

    name: str
    seconds: dict[str, list[float]]
    median_seconds: dict[str, float]
    speed: dict[str, float]
    agreement: dict[str, float]
    memory_mb: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)


def compare(name: str, peers: Peers, repetitions: int) -> Case:
    """Run the peers in turns; the first run of each warms up and is compared, not timed."""
    results = {peer: run().double() for peer, run in peers.items()}
    first = next(iter(results.values()))
    agreement = {p: float((r - first).norm() / first.norm()) for p, r in results.items()}
    seconds: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(repetitions):
        for peer, run in peers.items():
            started = time.perf_counter()
            run()
            seconds[peer].append(time.perf_counter() - started)
    median = {peer: statistics.median(s) for peer, s in seconds.items()}
    reference = next(iter(median.values()))
    return Case(name, seconds, median, {p: reference / m for p, m in median.items()}, agreement)


def peak_rise_mb(run: Callable[[], object]) -> float:
    """By how much the process's memory rose above its start; Linux only."""
    status = Path("/proc/self/status")

    def held(field_name: str) -> float:
        line = next(row for row in status.read_text().splitlines() if row.startswith(field_name))
        return int(line.split()[1]) / 1024

    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    run()
    return held("VmHWM") - before


def upsample(repetitions: int) -> Iterator[Case]:
    """Nearest upsampling and convolution, at the sizes that decoders of CT have."""
    sizes = [(3, 64, 32), (3, 128, 24), (3, 256, 16), (2, 64, 128), (2, 128, 64)]
    for dims, channels, side in sizes:
        for dtype in (torch.float32, torch.bfloat16):
            for layout in (torch.contiguous_format, CHANNELS_LAST[dims]):
                name = f"{channels} channels, {side}^{dims}, {_short(dtype)}, {_short(layout)}"
                peers = _upsamplers(dims, channels, side, dtype, layout)
                yield compare(name, peers, repetitions)


def _upsamplers(
    dims: int, channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format
) -> Peers:
    ours = UpsampleND(dims, channels).to(dtype=dtype, memory_format=layout)
    theirs = UpSample(
        dims,
        channels,
        channels,
        mode="nontrainable",
        interp_mode="nearest",
        align_corners=None,
        post_conv=ours.conv,
    )
    x = torch.randn(1, channels, *[side] * dims).to(dtype=dtype, memory_format=layout)
    return {
        "nearest + conv": lambda: ours.conv(functional.interpolate(x, scale_factor=2.0)),
        "MONAI UpSample": lambda: theirs(x),
        "ct_vae UpsampleND": lambda: ours(x),
    }


def decode(repetitions: int) -> Iterator[Case]:
    """The decoder of 64/128/256 channels without attention, against MONAI's with its weights."""
    channels = (64, 128, 256)
    numbers: dict[str, Any] = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "num_res_blocks": (2,) * len(channels),
        "channels": channels,
        "attention_levels": (False,) * len(channels),
        "latent_channels": 4,
        "norm_num_groups": 32,
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }
    theirs = MonaiAutoencoderKL(**numbers).eval()
    ours = import_weights(theirs.state_dict(), numbers)
    layout = torch.channels_last_3d
    network = VolumeAdapter(copy.deepcopy(ours))
    for side in (12, 16):
        z = torch.randn(1, 4, side, side, side)
        near = z.contiguous(memory_format=layout)
        theirs_near, ours_near = (copy.deepcopy(m).to(memory_format=layout) for m in (theirs, ours))
        peers: Peers = {
            "MONAI": lambda z=z: theirs.decode(z),
            "ct_vae": lambda z=z: ours.decode(z),
            "MONAI, channels last": lambda z=near, m=theirs_near: m.decode(z),
            "ct_vae, channels last": lambda z=near, m=ours_near: m.decode(z),
            "ct_vae, as Codec streams": lambda z=z: streamed(network, z),
        }
        case = compare(f"latent 4 x {side}^3 to {4 * side}^3, float32", peers, repetitions)
        case.memory_mb = {peer: peak_rise_mb(run) for peer, run in peers.items()}
        yield case


def streamed(network: VolumeAdapter, z: torch.Tensor) -> torch.Tensor:
    """The image of a latent the way that commands decode it, planning included."""
    x, y, zz = (n * f for n, f in zip(z.shape[2:], network.factor, strict=True))
    return plan_execution(network, "decode", Tiling(), (x, y, zz))(z)


def attention(repetitions: int) -> Iterator[Case]:
    """Attention over a whole map of 32^3 positions."""
    channels, side = 128, 32
    block = SpatialSelfAttention(3, channels)
    x = torch.randn(1, channels, side, side, side)
    peers: Peers = {"ct_vae SpatialSelfAttention": lambda: block(x)}
    case = compare(f"{channels} channels, {side}^3, float32", peers, repetitions)
    case.memory_mb = {peer: peak_rise_mb(run) for peer, run in peers.items()}
    case.notes = {"matrix_of_all_pairs_mb": 4 * side**6 / 2**20}
    yield case


def _short(kind: torch.dtype | torch.memory_format) -> str:
    return str(kind).removeprefix("torch.").replace("_", " ")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


Benchmarks = Mapping[str, Callable[[int], Iterator[Case]]]
BENCHMARKS: Benchmarks = {
    "upsample": upsample,
    "decode": decode,
    "attention": attention,
}


# Each is a program by itself.
PROGRAMS = {
    "cache": "bench_cache",
    "coder": "bench_coder",
    "io": "bench_io",
    "tiling": "bench_tiling",
    "train": "bench_train",
    "evaluate": "bench_evaluate",
}


def conditions(repetitions: int) -> dict[str, Any]:
    """What a figure holds for: versions, processor, threads, and how busy the machine was."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "processor": _processor(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg()[0],
        "repetitions": repetitions,
        "device": "cpu",
        "gradients": False,
    }


def show(case: Case) -> None:
    """Print a case as a few lines."""
    print(case.name)
    for peer, median in case.median_seconds.items():
        memory = f", {case.memory_mb[peer]:8.0f} MB" if peer in case.memory_mb else ""
        print(
            f"  {peer:28s} {1000 * median:9.1f} ms, {case.speed[peer]:5.2f} x, "
            f"relative error {case.agreement[peer]:.1e}{memory}"
        )
    for name, number in case.notes.items():
        print(f"  {name} {number:.0f}")


def parser_for(benchmarks: Benchmarks, about: str) -> argparse.ArgumentParser:
    """Options that every collection of benchmarks has."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument(
        "names", nargs="+", choices=benchmarks, metavar="NAME", help=", ".join(benchmarks)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written")
    parser.add_argument("--repetitions", type=int, default=7, help="timed runs of each peer")
    return parser


def run_named(
    benchmarks: Benchmarks, options: argparse.Namespace, packages: Sequence[str] = ()
) -> None:
    """Run the benchmarks that were named, show them, and write their figures."""
    told = conditions(options.repetitions)
    told["packages"] |= {name: version(name) for name in packages}
    report: dict[str, Any] = {"conditions": told, "benchmarks": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in options.names:
            cases = report["benchmarks"][name] = []
            for case in benchmarks[name](options.repetitions):
                show(case)
                cases.append(asdict(case))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    """Run the named benchmarks."""
    if len(sys.argv) > 1 and sys.argv[1] in PROGRAMS:
        program = import_module(PROGRAMS[sys.argv.pop(1)])
        program.main()
        return
    parser = parser_for(BENCHMARKS, __doc__)
    parser.add_argument("--threads", type=int, help="of PyTorch; its own choice by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        run_named(BENCHMARKS, options)


if __name__ == "__main__":
    main()
