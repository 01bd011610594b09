"""What is read of NIfTI, MetaImage and NRRD files, beside nibabel and SimpleITK.

Usage: python scripts/compare_file_readers.py [--update]

Makes each kind of file by the code of the tests, reads it by the three, and prints a table, or
writes it into docs/formats.md. Another kind of file is another row of tests/io/_odd_files.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "scripts")]

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import SimpleITK  # noqa: E402
from compare_readers import update  # noqa: E402

from ct_vae.errors import CtVaeError  # noqa: E402
from ct_vae.io import read_volume  # noqa: E402
from tests.io._odd_files import FILES, VOXELS, OddFile  # noqa: E402


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write into docs/formats.md")
    given = parser.parse_args()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as place:
        table = "\n".join(lines(Path(place)))
    if given.update:
        update("files", table)
    else:
        print(table)


def lines(place: Path) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield "| input | ct_vae | insist with | nibabel | SimpleITK |"
    yield "|---|---|---|---|---|"
    for number, odd in enumerate(FILES):
        folder = place / f"{number:03d}"
        folder.mkdir()
        path = odd.make(folder)
        insist = f"`{odd.insist}`" if odd.insist else ""
        cells = [told(by_nibabel, path, odd), told(by_itk, path, odd)]
        yield f"| {odd.name} | {ours(path)} | {insist} | {' | '.join(cells)} |"


def ours(path: Path) -> str:
    """What this package makes of a file."""
    try:
        volume = read_volume(path)
    except CtVaeError:
        return "refused"
    right = np.array_equal(volume.voxels, VOXELS)
    return ("read, noted" if volume.warnings else "read") if right else "**wrong**"


def told(read: Callable[[Path], Any], path: Path, odd: OddFile) -> str:
    """What another reader makes of it: taken, if this package refuses it with reason."""
    try:
        voxels = read(path)
    except Exception:
        return "none"
    if odd.outcome == "refused":
        return "taken"
    return "read" if np.array_equal(np.squeeze(voxels), VOXELS) else "**wrong**"


def by_nibabel(path: Path) -> Any:
    """Voxels as nibabel has them."""
    return np.asarray(nib.load(path).dataobj)


def by_itk(path: Path) -> Any:
    """Voxels as SimpleITK has them."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).transpose()


if __name__ == "__main__":
    main()
