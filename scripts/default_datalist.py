"""Write the datalist of the default models: ``default_datalist.py FOLDER``.

FOLDER holds ``train/*.nii.gz`` and ``val/*.nii.gz`` as the packed data unpack. Patches are taken by
patient and region: 16 of 24 patients are limb crops from one scanner, and together they count about
as much as the others.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

# Parts of names that tell pieces or kernels of one patient apart.
_PIECE = re.compile(r"_(neck|vertex|z-\d+|B|L|B40f)$")
# Relative to a limb, which counts 1; two pieces of one patient share its weight.
_TRUNK, _PIECE_OF_TWO, _VERTEX = 2.0, 1.25, 0.5


def entry(file: Path) -> dict[str, Any]:
    """Path, patient and weight of a volume."""
    name = file.name.removesuffix(".nii.gz")
    weight = 1.0 if name.startswith("STS") else _TRUNK
    if name.endswith("vertex"):
        weight = _VERTEX
    elif name.endswith(("_neck", "_z-846", "_B", "_L")):
        weight = _PIECE_OF_TWO
    path = f"{file.parent.name}/{file.name}"
    return {"image": path, "patient": _PIECE.sub("", name), "weight": weight}


def main() -> None:
    """Write ``datalist.json`` into the folder."""
    folder = Path(sys.argv[1])
    lists = {
        name: [entry(file) for file in sorted((folder / part).glob("*.nii.gz"))]
        for name, part in (("training", "train"), ("validation", "val"))
    }
    if not all(lists.values()):
        sys.exit(f"error: {folder} has no volumes in train/ and val/; unpack the data there first")
    (folder / "datalist.json").write_text(json.dumps(lists, indent=1) + "\n", encoding="utf-8")
    print(f"{folder / 'datalist.json'}: {len(lists['training'])} training volumes")


if __name__ == "__main__":
    main()
