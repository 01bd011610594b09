"""The demonstration behind ``demo.sh``: the default model, a model trained here, and a table."""

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
DEFAULT = "ct-f4"
SEED = 1000
# Names of the rows of an evaluation, and what the table calls them.
ROWS = {
    "reconstruction": "model",
    "klt": "best linear code",
    "resample": "cubic resampling",
    "jpeg2000": "JPEG 2000",
}


def ct_vae(*args: object) -> float:
    """Run a command of the package as a user would; gives its seconds."""
    words = [str(a) for a in args]
    print("$ ct-vae", *words, flush=True)
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "ct_vae", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return time.monotonic() - started


def through(model: str | Path, ct: Path, out: Path) -> dict[str, float]:
    """Encode, decode and evaluate one CT; gives the seconds of each."""
    return {
        "encode": ct_vae("encode", model, ct, "-o", out / "latents", "--overwrite"),
        "decode": ct_vae("decode", model, out / "latents", "-o", out / "decoded"),
        "evaluate": ct_vae("evaluate", model, ct, "-o", out / "evaluation"),
    }


def add_rows(table: Table, model: str, out: Path) -> None:
    """Errors inside the body, of a model and of the baselines with as many numbers or bits."""
    with (out / "evaluation" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask"] == "body"]
    (path,) = (out / "latents").glob("*_latent.nii.gz")
    latent = read_latent(path)
    ratio = math.prod(latent.record.source.grid.shape) / latent.array.size
    for what, name in ROWS.items():
        errors = {row["window"]: float(row["rmse"]) for row in rows if row["what"] == what}
        if not errors:
            continue
        title = f"{model}, {ratio:.1f} : 1" if what == "reconstruction" else f"  {name}"
        table.add_row(title, f"{errors['full']:.1f}", f"{errors['soft_tissue']:.1f}")
    table.add_section()


def main() -> None:
    """Do everything and tell where the results are."""
    if len(sys.argv) > 1:
        ct = Path(sys.argv[1])
    else:
        ct_vae("phantom", "-o", OUT / "ct", "--count", 1, "--seed", SEED)
        ct = OUT / "ct" / f"thorax_{SEED}.nii.gz"
    seconds = {DEFAULT: through(DEFAULT, ct, OUT / DEFAULT)}
    training = ct_vae(
        "train", "configs/quickstart.json", "--set", f"training.output_dir={RUN}", "--overwrite"
    )
    seconds["quickstart"] = through(RUN, ct, OUT / "quickstart")
    table = Table(title=f"{ct.name}: RMSE in HU inside the body; no training has seen it")
    table.add_column("model, and baselines of its size")
    table.add_column("all HU", justify="right")
    table.add_column("soft tissue", justify="right")
    for name in seconds:
        add_rows(table, name, OUT / name)
    console = Console(width=None if Console().is_terminal else 100)
    console.print(table)
    console.print(f"training of quickstart: {training:.0f} s")
    for name, each in seconds.items():
        console.print(f"{name}: " + ", ".join(f"{k} {v:.0f} s" for k, v in each.items()))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    console.print(f"peak memory {peak:.2f} GiB")
    for what, path in {
        "trained model": RUN,
        "latents": OUT / DEFAULT / "latents",
        "decoded CT": OUT / DEFAULT / "decoded",
        "report": OUT / DEFAULT / "evaluation" / "report.html",
        "picture": OUT / DEFAULT / "evaluation" / "case_0001.png",
    }.items():
        print(f"{what:<14}{path}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; run it again to start over")
