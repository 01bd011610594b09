"""Speed and memory beside peers, measured side by side in one run; prints JSON.

Usage: python scripts/bench.py [NAME...] [--threads N] [--repeats N] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks import UpSample
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.upsample import UpsampleND
from ct_vae.models.convert import import_weights

Runs = Mapping[str, Callable[[], Any]]
MAISI_SIZE: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "channels": (64, 128, 256),
    "latent_channels": 4,
    "num_res_blocks": (2, 2, 2),
    "attention_levels": (False, False, False),
    "with_encoder_nonlocal_attn": False,
    "with_decoder_nonlocal_attn": False,
}


def side_by_side(runs: Runs, repeats: int) -> dict[str, float]:
    """Median seconds of each, their turns interleaved so that a busy moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            gc.collect()
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def bench_upsample(repeats: int) -> dict[str, Any]:
    """The step up at 64 channels and 32^3: fused, as it is written, and MONAI's layer."""
    ours = UpsampleND(3, 64).eval()
    peer = UpSample(
        3,
        64,
        64,
        2,
        mode="nontrainable",
        interp_mode="nearest",
        post_conv=ours.conv,
        align_corners=None,
    ).eval()
    x = torch.randn(1, 64, 32, 32, 32)
    runs: Runs = {
        "fused": lambda: ours(x),
        "nearest_then_conv": lambda: ours.conv(functional.interpolate(x, scale_factor=2)),
        "monai": lambda: peer(x),
    }
    difference = (ours(x) - peer(x)).norm() / peer(x).norm()
    seconds = side_by_side(runs, repeats)
    return {
        "seconds": seconds,
        "relative_difference": difference.item(),
        "nearest_then_conv_over_fused": seconds["nearest_then_conv"] / seconds["fused"],
        "monai_over_fused": seconds["monai"] / seconds["fused"],
    }


def bench_decode(repeats: int) -> dict[str, Any]:
    """Decoding a 16^3 latent with the weights of MONAI's 64/128/256 autoencoder."""
    torch.manual_seed(0)
    peer = MonaiAutoencoderKL(**MAISI_SIZE).eval()
    ours = import_weights(peer.state_dict(), MAISI_SIZE).eval()
    z = torch.randn(1, 4, 16, 16, 16)
    last = z.contiguous(memory_format=torch.channels_last_3d)
    apart = import_weights(peer.state_dict(), MAISI_SIZE).eval()
    apart.to(memory_format=torch.channels_last_3d)
    runs: Runs = {
        "ours": lambda: ours.decode(z),
        "ours_channels_last": lambda: apart.decode(last),
        "monai": lambda: peer.decode(z),
    }
    difference = (ours.decode(z) - peer.decode(z)).norm() / peer.decode(z).norm()
    seconds = side_by_side(runs, repeats)
    return {
        "seconds": seconds,
        "relative_difference": difference.item(),
        "monai_over_ours": seconds["monai"] / seconds["ours"],
        "monai_over_ours_channels_last": seconds["monai"] / seconds["ours_channels_last"],
    }


def bench_attention(repeats: int) -> dict[str, Any]:
    """Attention over a 32^3 map of 128 channels; a matrix of all pairs would take 4 GiB."""
    block, x = SpatialSelfAttention(3, 128).eval(), torch.randn(1, 128, 32, 32, 32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = side_by_side({"attention": lambda: block(x)}, repeats)
    rise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds, "peak_memory_rise_mb": rise / 1024}


# Attention first: peak memory only ever rises.
BENCHMARKS = {"attention": bench_attention, "upsample": bench_upsample, "decode": bench_decode}


def conditions(threads: int, repeats: int) -> dict[str, Any]:
    """What the figures depend on."""
    packages = ("ct_vae", "torch", "monai")
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "versions": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "cpu": models[0] if models else platform.processor(),
        "threads": threads,
        "repeats": repeats,
    }


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {sorted(unknown)}, there are {', '.join(BENCHMARKS)}")
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {"conditions": conditions(options.threads, options.repeats)}
    with torch.inference_mode():
        for name, bench in BENCHMARKS.items():
            if name in options.names or not options.names:
                results[name] = bench(options.repeats)
    text = json.dumps(results, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
