"""Size and error of the forms of latents, measured with models on given volumes.

Usage: python scripts/measure_latents.py [NAME=]PATH... [--models NAME...] [--steps STEP...]
       [--json FILE] [--update]

Without paths, the CT of the test data is taken (`CT_VAE_TEST_DATA`). Bytes are those of the file
without the JSON record beside it; percents are of the int16 file. The rise of the RMSE is that of
the whole decoded volume inside the body, in HU, against the float32 latent.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ct_vae.errors import CtVaeError
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.inference.codec import Codec, load_codec
from ct_vae.io import read_latent, write_latent
from ct_vae.io.latent.storage import LatentDtype
from ct_vae.latent import Latent
from ct_vae.masks import Mask, body_mask
from ct_vae.volume import Volume

DOCS = Path(__file__).resolve().parents[1] / "docs" / "reference" / "latents.md"
MARKS = ("<!-- sizes -->\n", "\n<!-- end of sizes -->")
STEPS = (1.0, 2.0, 3.0, 6.0)


@dataclass
class Row:
    """One form of the latent of one volume.

    Attributes:
        model: Name of the model.
        volume: Name of the volume.
        form: Storage, with the step for coded latents.
        bytes: Size of the file.
        percent: Size in percent of the int16 file.
        bits_per_voxel: Bits of the file per voxel of the CT.
        rmse_hu: RMSE in HU in the body.
        rise_percent: Rise of the RMSE against the float32 latent.
        predicted_percent: Rise that the record predicts.
    """

    model: str
    volume: str
    form: str
    bytes: int
    percent: float
    bits_per_voxel: float
    rmse_hu: float
    rise_percent: float
    predicted_percent: float | None


def forms(steps: Sequence[float]) -> Iterator[tuple[LatentDtype, float | None]]:
    """Return the forms in the order of the table, the reference for sizes first."""
    yield "int16", None
    yield "int8", None
    for step in steps:
        yield "coded", step


def rows_of(codec: Codec, name: str, case: Case, steps: Sequence[float]) -> Iterator[Row]:
    """Measure all forms of the latent of one volume."""
    volume = case.read()
    mask = body_mask(volume)
    latent = codec.encode(volume, response=True)
    exact = _rmse(codec, latent, volume, mask)
    reference = 0
    with TemporaryDirectory() as folder:
        for dtype, step in forms(steps):
            path = Path(folder) / ("a.latz" if dtype == "coded" else "a.nii.gz")
            how = write_latent(latent, path, dtype, step=step).record.quantisation
            assert how is not None
            size = path.stat().st_size
            reference = reference or size
            rmse = _rmse(codec, read_latent(path), volume, mask)
            row = Row(
                codec.identity.name,
                name,
                dtype if step is None else f"{dtype}, step {step:g}",
                size,
                100 * size / reference,
                8 * size / volume.voxels.size,
                rmse,
                100 * (rmse / exact - 1),
                None if how.rmse_rise is None else 100 * how.rmse_rise,
            )
            yield row


def _rmse(codec: Codec, latent: Latent, volume: Volume, mask: Mask) -> float:
    difference = codec.decode(latent).voxels[mask.voxels] - volume.voxels[mask.voxels].astype(
        np.float64
    )
    return float(np.sqrt(np.mean(difference**2)))


def table_of(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown, one line for each latent and one column for each form."""
    columns = list(dict.fromkeys(row.form for row in rows if row.form != "int16"))
    found = {(row.model, row.volume, row.form): row for row in rows}
    lines = [
        f"| model | volume | RMSE | int16 | {' | '.join(columns)} |",
        f"|---|---|---|---|{'---|' * len(columns)}",
    ]
    for model, volume in dict.fromkeys((row.model, row.volume) for row in rows):
        reference = found[model, volume, "int16"]
        cells = [_cell(found.get((model, volume, form))) for form in columns]
        first = f"{reference.rmse_hu:.2f} HU | {reference.bytes / 1000:.0f} kB"
        lines.append(f"| {model} | {volume} | {first} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{row.percent:.1f} %, {row.rise_percent:+.2f} %"


def cases_of(given: Sequence[str]) -> list[tuple[str, Case]]:
    """Return the volumes that were named, or those of the test data, with their names."""
    if not given:
        folder = os.environ.get("CT_VAE_TEST_DATA", "../shared/data")
        return [(case.key, case) for case in discover([folder], unique=False)]
    found = []
    for each in given:
        name, _, path = each.rpartition("=")
        found += [(name or case.key, case) for case in discover([path], unique=False)]
    return found


def measure(
    cases: Sequence[tuple[str, Case]], models: Sequence[str], steps: Sequence[float]
) -> list[Row]:
    """Measure all models on all volumes; volumes that are refused are named and left out."""
    rows: list[Row] = []
    for model in models:
        codec = load_codec(model)
        for name, case in cases:
            try:
                for row in rows_of(codec, name, case, steps):
                    print(json.dumps(asdict(row)), flush=True)
                    rows.append(row)
            except CtVaeError as error:
                print(f"left out: {error}", flush=True)
    return rows


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "volumes", nargs="*", metavar="[NAME=]PATH", help="files, folders or patterns"
    )
    parser.add_argument("--models", nargs="+", default=["ct-f4", "ct-f4c16"], metavar="NAME")
    parser.add_argument("--steps", nargs="+", type=float, default=list(STEPS), metavar="STEP")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written")
    parser.add_argument(
        "--update", action="store_true", help="write into docs/reference/latents.md"
    )
    given: Any = parser.parse_args()
    rows = measure(cases_of(given.volumes), given.models, given.steps)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")
    if given.update:
        text = DOCS.read_text("utf-8")
        head, _, rest = text.partition(MARKS[0])
        _, found, tail = rest.partition(MARKS[1])
        if not found:
            raise SystemExit(f"{DOCS.name} has no place for the table")
        DOCS.write_text(head + MARKS[0] + table_of(rows) + MARKS[1] + tail, "utf-8")


if __name__ == "__main__":
    main()
