"""The doors that fault tests go through, and what must hold whenever one stays shut."""

from __future__ import annotations

import json
from pathlib import Path

from tests._small import ct_volume
from tests.cli._run import call
from tests.io._samples import nifti_bytes


def refuse(model: Path, source: Path, code: int, *words: str, options: tuple[str, ...] = ()) -> str:
    """Encoding ends with this code and these words, and leaves nothing but the list of failures."""
    out = source.parent / "refused"
    before = contents(source)
    found, text = call("encode", model, source, "-o", out, *options)
    assert found == code, text
    for word in words:
        assert word in text, text
    assert "Traceback" not in text
    assert left_in(out) <= {"failures.jsonl"}
    if (out / "failures.jsonl").exists():
        (line,) = (out / "failures.jsonl").read_text().splitlines()
        told = json.loads(line)
        assert told["case"] == str(source) or source.name in told["case"]
        assert told["cause"] in text
    assert contents(source) == before
    return text


def accept(model: Path, source: Path, *options: str) -> dict:
    """Encoding succeeds; gives the record of the one latent."""
    out = source.parent / "accepted"
    code, text = call("encode", model, source, "-o", out, "--overwrite", *options)
    assert code == 0, text
    (record,) = out.rglob("*_latent.json")
    return json.loads(record.read_text())


def left_in(folder: Path) -> set[str]:
    """Names of all files in a folder, hidden ones included."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def contents(place: Path) -> dict[str, bytes]:
    """All files of an input, byte by byte."""
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return {str(p): p.read_bytes() for p in files}


def ct_file(path: Path, voxels=None, affine=None, **fields) -> Path:
    """A NIfTI file with a plausible CT, or with other voxels, whose header fields are changed."""
    volume = ct_volume()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = nifti_bytes(
        volume.voxels if voxels is None else voxels,
        volume.grid.affine if affine is None else affine,
        **fields,
    )
    path.write_bytes(content)
    return path
