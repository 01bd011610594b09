"""The demonstration behind ``demo.sh``: the default model, a model trained here, and a table."""

from __future__ import annotations

import csv
import json
import math
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from ct_vae.errors import StoppedError
from ct_vae.io import read_latent
from ct_vae.io.atomic.file import write_text

OUT = Path("runs/demo")
RUN = OUT / "model"
DEFAULT = "ct-f4"
SEED = 1000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = StoppedError.exit_code
# Names of the rows of an evaluation, and what the table calls them.
ROWS = {
    "reconstruction": "model",
    "klt": "best linear code",
    "resample": "cubic resampling",
    "jpeg2000": "JPEG 2000",
}


class Steps:
    """Commands of the package, run one after the other; a run that was stopped goes on.

    Args:
        path: File that lists the finished commands until `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float | None] = {}
        if path.is_file():
            self._seconds = json.loads(path.read_text())
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = ""
        for each in SIGNALS:
            signal.signal(each, self._stop)

    def run(self, *args: object, again: str | None = None) -> float:
        """Run a command as a user would, unless it is finished already.

        Args:
            args: Words of the command.
            again: Option that replaces ``--overwrite`` if the command was stopped; optional.

        Returns:
            Seconds that the command took.
        """
        words = [str(a) for a in args]
        key = " ".join(words)
        if (before := self._seconds.get(key)) is not None:
            print("done before: ct-vae", *words, flush=True)
            return before
        if key in self._seconds and again is not None:
            words = [again if word == "--overwrite" else word for word in words]
        self._note(key, None)
        print("$ ct-vae", *words, flush=True)
        started = time.monotonic()
        self._child = subprocess.Popen([sys.executable, "-m", "ct_vae", *words])
        code = self._child.wait()
        if self._stopped:
            print(f"stopped by {self._stopped}; run it again to go on", file=sys.stderr)
            sys.exit(STOPPED)
        if code:
            sys.exit(code)
        self._note(key, time.monotonic() - started)
        return time.monotonic() - started

    def finish(self) -> None:
        """Forget what was done, so that the next run starts from the beginning."""
        self._path.unlink(missing_ok=True)

    def _note(self, key: str, seconds: float | None) -> None:
        self._seconds[key] = seconds
        write_text(self._path, json.dumps(self._seconds, indent=1))

    def _stop(self, number: int, _: FrameType | None) -> None:
        """Pass a signal on to the command; it ends, or saves its work first."""
        self._stopped = signal.Signals(number).name
        if self._child is not None:
            self._child.send_signal(number)


def through(steps: Steps, model: str | Path, ct: Path, out: Path) -> dict[str, float]:
    """Encode, decode and evaluate one CT; gives the seconds of each."""
    return {
        "encode": steps.run("encode", model, ct, "-o", out / "latents", "--overwrite"),
        "decode": steps.run("decode", model, out / "latents", "-o", out / "decoded"),
        "evaluate": steps.run("evaluate", model, ct, "-o", out / "evaluation"),
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
    steps = Steps(OUT / "steps.json")
    if len(sys.argv) > 1:
        ct = Path(sys.argv[1])
    else:
        steps.run("phantom", "-o", OUT / "ct", "--count", 1, "--seed", SEED)
        ct = OUT / "ct" / f"thorax_{SEED}.nii.gz"
    seconds = {DEFAULT: through(steps, DEFAULT, ct, OUT / DEFAULT)}
    training = steps.run(
        *("train", "quickstart", "--set", f"training.output_dir={RUN}", "--overwrite"),
        again="--resume",
    )
    seconds["quickstart"] = through(steps, RUN, ct, OUT / "quickstart")
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
    steps.finish()


if __name__ == "__main__":
    main()
