"""The demonstration behind ``demo.sh``: train, encode, decode, evaluate, and a small table."""

from __future__ import annotations

import csv
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ct_vae.io import read_latent

OUT = Path("runs/demo")
RUN = OUT / "model"
SEED = 1000
HELD_OUT = f"thorax_{SEED}"


def ct_vae(*args: object) -> float:
    """Run a command of the package as a user would; gives its seconds."""
    words = [str(a) for a in args]
    print("$ ct-vae", *words, flush=True)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "ct_vae", *words], check=True)
    return time.monotonic() - started


def body_errors() -> list[dict[str, str]]:
    """Rows of the evaluation that count inside the body."""
    with (OUT / "evaluation" / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["mask"] == "body"]


def show(rows: list[dict[str, str]], seconds: dict[str, float]) -> None:
    """Print errors beside those of the baselines, then compression and time."""
    table = Table(title="Held-out thorax phantom, inside the body")
    for name in ("what", "window", "RMSE HU", "PSNR dB", "data range HU"):
        table.add_column(name, justify="left" if name in ("what", "window") else "right")
    for row in rows:
        rmse, psnr = float(row["rmse"]), float(row["psnr"])
        table.add_row(
            row["what"],
            row["window"],
            f"{rmse:.1f}",
            f"{psnr:.2f}",
            f"{float(row['data_range']):g}",
        )
    console = Console(width=None if Console().is_terminal else 100)
    console.print(table)
    source = OUT / "ct" / f"{HELD_OUT}.nii.gz"
    path = OUT / "latents" / f"{HELD_OUT}_latent.nii.gz"
    latent = read_latent(path)
    voxels = math.prod(latent.record.source.grid.shape)
    console.print(
        f"compression: {voxels / latent.array.size:.2f} : 1 in numbers, "
        f"{source.stat().st_size / path.stat().st_size:.2f} : 1 on disk"
    )
    console.print(", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    console.print(f"peak memory {peak:.2f} GiB")


def main() -> None:
    """Do everything and tell where the results are."""
    seconds = {}
    ct_vae("phantom", "-o", OUT / "ct", "--count", 3, "--seed", SEED)
    seconds["training"] = ct_vae(
        "train",
        "configs/quickstart.json",
        "--set",
        f"training.output_dir={RUN}",
        "--overwrite",
    )
    seconds["encoding"] = ct_vae("encode", RUN, OUT / "ct", "-o", OUT / "latents")
    seconds["decoding"] = ct_vae("decode", RUN, OUT / "latents", "-o", OUT / "decoded")
    thorax = OUT / "ct" / f"{HELD_OUT}.nii.gz"
    seconds["evaluation"] = ct_vae("evaluate", RUN, thorax, "-o", OUT / "evaluation")
    show(body_errors(), seconds)
    for what, path in {
        "model": RUN,
        "CT": OUT / "ct",
        "latents": OUT / "latents",
        "decoded CT": OUT / "decoded",
        "numbers": OUT / "evaluation" / "metrics.csv",
        "picture": OUT / "evaluation" / "case_0001.png",
    }.items():
        print(f"{what:<12}{path}")


if __name__ == "__main__":
    main()
