"""Which normalisation bears which tiling: one small network trained with each, judged with all.

Usage: python scripts/compare_norms.py -o FOLDER [--samples N] [--seeds N] [--json FILE]

A network with GroupNorm that learns from patches has seen the statistics of patches; streamed
exactly, a volume is normalised by its own. Networks that differ in nothing but their norm are
trained on patches of generated phantoms. Then phantoms that none of them has seen, several patches
wide, are encoded and decoded in each way: exactly, whole, and in blended windows as large as a
training patch. Told is the root mean square error inside the body in HU, and that of the same
volumes with a wide margin of air, which changes the statistics of the volume and nothing of the
body.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ct_vae.evaluation.metrics.metric_rows import DEFAULT_WINDOWS, evaluate_pair
from ct_vae.grid import Grid
from ct_vae.inference.codec import load_codec
from ct_vae.inference.tiling import Method, Tiling
from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import AIR_HU, Volume

NORMS = ("group", "rms", "layer")
METHODS: tuple[Method, ...] = ("exact", "whole", "blend")
ANATOMIES = ("thorax", "abdomen")
SPACING_MM = 3.0
MARGIN = 24
OVERLAP = 0.25


def config(norm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """A run that differs from the others in its norm and seed alone."""
    return {
        "model": {
            "down_channels": [8, 16, 16],
            "num_res_blocks": 1,
            "mid_attn": False,
            "z_channels": 4,
            "embed_dim": 4,
            "norm": norm,
        }
        | ({"norm_groups": 4} if norm == "group" else {}),
        "data": {
            "phantoms": {
                "train": 8,
                "val": 1,
                "anatomies": list(ANATOMIES),
                "spacing_mm": [SPACING_MM] * 3,
            }
        },
        "training": {
            "samples": options.samples,
            "batch_size": 4,
            "patch_size": [options.patch] * 3,
            "recon_type": "mse",
            "kl_weight": 1e-6,
            "lr": 3e-3,
            "warmup_samples": 400,
            "ema_decay": 0.98,
            "seed": seed,
            "save_every": options.samples,
        },
    }


def trained(norm: str, seed: int, options: argparse.Namespace) -> Path:
    """The run folder, trained unless it is there."""
    name = f"{norm}_{seed}_{options.samples}"
    path = options.output / f"{name}.json"
    run: Path = options.output / name
    if not (run / "model.safetensors").exists():
        path.write_text(json.dumps(config(norm, seed, options), indent=2) + "\n")
        command = [sys.executable, "-m", "ct_vae", "train", str(path), "--overwrite"]
        subprocess.run([*command, "--set", f"training.output_dir={run}"], check=True)
    return run


def cases() -> dict[str, list[Volume]]:
    """Phantoms that no run has seen, as they are and in a margin of air."""
    bare = [make_phantom(a, 1000, SPACING_MM) for a in ANATOMIES]
    return {"bare": bare, "in air": [in_air(volume) for volume in bare]}


def in_air(volume: Volume) -> Volume:
    """The volume with air around it on both sides of every axis."""
    voxels = np.pad(volume.voxels.astype(np.int16), MARGIN, constant_values=AIR_HU)
    low = np.full(3, -MARGIN)
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return Volume(voxels, Grid(voxels.shape, affine))


def body_rmse(run: Path, method: Method, volume: Volume, tile: int) -> dict[str, float]:
    """Error inside the body, by window."""
    codec = load_codec(run, "cpu", Tiling(method, tile=tile, overlap=OVERLAP))
    result = codec.decode(codec.encode(volume))
    rounded = Volume(np.rint(result.voxels), result.grid)
    rows = evaluate_pair(volume, rounded, DEFAULT_WINDOWS, case="case", masks=[body_mask(volume)])
    return {row.window: row.rmse for row in rows if row.rmse is not None}


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--samples", type=int, default=2500, help="patches that each run sees")
    parser.add_argument("--patch", type=int, default=24, help="side of a patch and of a window")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each norm")
    parser.add_argument("--norms", nargs="+", choices=NORMS, default=NORMS[:2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    volumes, table = cases(), []
    for norm in options.norms:
        runs = [trained(norm, seed, options) for seed in range(options.seeds)]
        for where, some in volumes.items():
            for method in METHODS:
                found = [body_rmse(r, method, v, options.patch) for r in runs for v in some]
                row: dict[str, Any] = {"norm": norm, "volumes": where, "tiling": method}
                for window in found[0]:
                    values = [f[window] for f in found]
                    row[window] = statistics.mean(values)
                    row[f"{window}_each"] = values
                table.append(row)
                told = ", ".join(f"{w.name} {row[w.name]:.1f}" for w in DEFAULT_WINDOWS)
                print(f"{norm:6s} {where:7s} {method:6s} body RMSE in HU: {told}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
