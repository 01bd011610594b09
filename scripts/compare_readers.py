"""What is read and what is refused, beside SimpleITK, dcm2niix and dicom2nifti.

Usage: python scripts/compare_readers.py [--peers FOLDER] [--update] [NAME...]

Makes each kind of input by the code of the tests, reads it by this package and by the others, which
are installed into FOLDER (by default a temporary one), and prints a table. ``--update`` writes the
tables into docs/formats.md, between the marks that name them. NAME is a table; the default is all.

A table is a list of `Row`: another kind of input is another row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(_ROOT))

from ct_vae.errors import CtVaeError  # noqa: E402
from ct_vae.io import ReadOptions, read_volume, scan_series  # noqa: E402
from tests.io.dicom import _odd_series  # noqa: E402

_DOCS = _ROOT / "docs" / "formats.md"
_PEERS = ("SimpleITK", "dcm2niix", "dicom2nifti")
_PACKAGES = ("SimpleITK==2.5.7", "dcm2niix==1.0.20260724", "dicom2nifti==2.6.2")
# A spacing that is off by more than this part is another one.
_SPACING_TOLERANCE = 0.02

# Slices of each volume, and their distance in mm, as a reader has them.
Volumes = list[tuple[int, float]]


@dataclass(frozen=True)
class Row:
    """One kind of input.

    Attributes:
        name: What it is.
        make: Writes it into a folder that it is given, and returns what readers get: the folder,
            or a file in it.
        truth: Sizes along the third axis and spacings in mm of the volumes that are right;
            ``None`` if no reading is certain.
        insist: The option by which this package reads it all the same, if there is one.
        described: What this package says, instead of what it gives.
    """

    name: str
    make: Callable[[Path], Path]
    truth: Volumes | None
    insist: str = ""
    described: str = ""


def dicom_rows() -> list[Row]:
    """The series of the tests."""
    uncertain = {
        "two stacks of an Enhanced file, half a spacing apart",
        "two acquisitions half a spacing apart",
        "two slices at one place",
        "no rescale",
        "no position in one slice",
        "a truncated slice",
        "a missing slice",
        "a tilted gantry",
        "two spacings",
        "two stacks that nothing names",
        "rows behind the pixels",
        "RescaleType of electron density",
        "a secondary capture with the geometry of a volume",
        "frames without functional groups",
    }

    def row(name: str, each: _odd_series.Row) -> Row:
        def make(folder: Path) -> Path:
            each.make(folder)
            return folder

        truth = None if name in uncertain else [(size, each.step_mm) for size in each.sizes]
        if name == "three slices":
            truth = [(3, each.step_mm)]
        return Row(name, make, truth, each.insist)

    return [row(name, each) for name, each in _odd_series.ROWS.items()]


TABLES: dict[str, Callable[[], list[Row]]] = {"dicom": dicom_rows}


def main() -> None:
    """Make, read, and print or write tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--peers", type=Path, help="environment of the other readers; is made")
    parser.add_argument("--update", action="store_true", help=f"write into {_DOCS.name}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        python = peers(given.peers or Path(place) / "peers")
        for name in given.names or TABLES:
            table = "\n".join(lines(TABLES[name](), python, Path(place) / name))
            if given.update:
                update(name, table)
            else:
                print(f"{table}\n")


def peers(folder: Path) -> Path:
    """The interpreter of an environment in which the other readers are installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", *_PACKAGES]
        subprocess.run(install, check=True)
    return python


def lines(rows: list[Row], python: Path, place: Path) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield f"| input | ct_vae | insist with | {' | '.join(_PEERS)} |"
    yield f"|---|---|---|{'---|' * len(_PEERS)}"
    paths = []
    for number, row in enumerate(rows):
        folder = place / f"{number:03d}"
        folder.mkdir(parents=True)
        paths.append(row.make(folder))
    answers = read_by_peers(python, paths)
    for row, path, peer in zip(rows, paths, answers, strict=True):
        cells = [told_by_peer(peer[name], row.truth) for name in _PEERS]
        insist = f"`{row.insist}`" if row.insist.startswith("-") else row.insist
        yield f"| {row.name} | {row.described or ours(path)} | {insist} | {' | '.join(cells)} |"


def ours(path: Path) -> str:
    """What this package reads of a folder or file, in a few words."""
    if path.is_dir():
        found = scan_series(path)
        fit = [each for each in found if each.verdict == "ok"]
        volumes = [each.read() for each in fit]
        rest = sorted({each.verdict for each in found} - {"ok"})
    else:
        try:
            volumes, rest = [read_volume(path, ReadOptions())], []
        except CtVaeError:
            volumes, rest = [], ["refused"]
    if not volumes:
        return " and ".join(rest)
    noted = ", noted" if any(volume.warnings for volume in volumes) else ""
    more = f"; the rest {' and '.join(rest)}" if rest else ""
    return f"{counted([v.grid.shape[2] for v in volumes])}{noted}{more}"


def read_by_peers(python: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """Answers of the other readers, path by path."""
    script, program = Path(__file__).with_name("peer_readers.py"), python.with_name("dcm2niix")
    command = [python, script, program, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(answers) != len(paths):
        raise SystemExit(f"the peers answered {len(answers)} of {len(paths)} times")
    return answers


def told_by_peer(answer: list[Any] | str, truth: Volumes | None) -> str:
    """What another reader gives, and whether it is right."""
    if isinstance(answer, str) or not answer:
        return "none"
    volumes = []
    for size, spacing in answer:
        frames = size[3] if len(size) > 3 else 1
        volumes += [
            (size[2] if len(size) > 2 else 1, spacing[2] if len(spacing) > 2 else 0.0)
        ] * frames
    text = counted([size for size, _ in volumes])
    if truth is None:
        return f"{text}, taken"
    if same(volumes, truth):
        return text
    spacings = sorted({f"{spacing:.3g}" for _, spacing in volumes})
    return f"**wrong**: {text} at {' and '.join(spacings)} mm"


def same(volumes: Volumes, truth: Volumes) -> bool:
    """Whether volumes are those that are right, in any order."""
    pairs = zip(sorted(volumes), sorted(truth), strict=False)
    return len(volumes) == len(truth) and all(
        a[0] == b[0] and abs(a[1] - b[1]) <= _SPACING_TOLERANCE * b[1] for a, b in pairs
    )


def counted(sizes: list[int]) -> str:
    """Sizes of volumes along the third axis, equal ones together."""
    distinct = sorted(set(sizes), reverse=True)
    parts = [f"{sizes.count(n)} x {n}" if sizes.count(n) > 1 else f"{n}" for n in distinct]
    return f"{' + '.join(parts)} slices"


def update(name: str, table: str) -> None:
    """Replace a table of the documentation."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    text = _DOCS.read_text("utf-8")
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise SystemExit(f"{_DOCS.name} has no place for {name}")
    _DOCS.write_text(f"{head}{begin}{table}{end}{tail}", "utf-8")


if __name__ == "__main__":
    main()
