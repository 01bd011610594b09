"""Measure models beside image codecs and the KLT on the same CT, and write ``docs/quality.md``.

``python scripts/quality.py VOLUME... [--model MODEL]... -o docs/quality.md`` reads every volume
once, measures the rate-distortion curves of the codecs once per volume and those of the models and
of the KLT with as many numbers once per model and volume, and states where each model is below each
codec. A volume is a path, or NAME=PATH. Run it again when the models have changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from peer_weights import convert
from quality_page import Measured, page

import ct_vae
from ct_vae.evaluation.baselines.hevc import HIGHEST_QP, hevc_baseline
from ct_vae.evaluation.baselines.jpeg2000 import jpeg2000_at_rmse
from ct_vae.evaluation.baselines.sperr import sperr_baseline
from ct_vae.evaluation.pictures.method_styles import METHODS, MethodStyle
from ct_vae.evaluation.rate_distortion.curve import REGIONS, Curve, RatePoint
from ct_vae.evaluation.rate_distortion.measure import BodyErrors, codec_curves, model_curves
from ct_vae.evaluation.rate_distortion.plot import TITLES, draw_curves
from ct_vae.evaluation.rate_distortion.summary import MODEL, CaseCurves
from ct_vae.evaluation.rounding import stored
from ct_vae.evaluation.texture.noise import measure_texture
from ct_vae.inference.codec import Codec
from ct_vae.io import read_volume, volume_sha256
from ct_vae.io.atomic.file import atomic_write, write_json, write_text
from ct_vae.masks import Mask, body_mask
from ct_vae.volume import Volume

# Colors of models after the first one.
_COLORS = ("#d4451d", "#8f1f5f", "#c98a00", "#4d4dc9", "#5a8f1f")


def measure(name: str, path: Path, models: Sequence[Codec], kept: Path) -> Measured:
    """Measure all curves of one volume; those of the codecs are kept for the next time."""
    volume = read_volume(path)
    found = Measured(name, volume, body_mask(volume))
    errors = BodyErrors(volume, found.body)
    found.codecs = {curve.name: curve for curve in kept_codec_curves(errors, kept)}
    print(f"{name}: codecs measured", file=sys.stderr)
    for codec in models:
        model = codec.identity.name
        latent = codec.encode(volume)
        reconstruction = stored(codec.decode(latent))
        curves = tuple(model_curves(codec, latent, errors))
        case = CaseCurves(name, curves, errors.of(reconstruction))
        found.models[model] = case
        found.noise[model, model] = noise(volume, reconstruction, found.body)
        rate = case.bits_at_rise("body")
        if rate is not None:
            for other, curve in found.codecs.items():
                coded = at_rate(volume, rate, curve)
                found.noise[model, other] = noise(volume, coded, found.body) if coded else None
        print(f"{name}: {model} measured", file=sys.stderr)
    return found


def kept_codec_curves(errors: BodyErrors, folder: Path) -> list[Curve]:
    """Return the curves of the codecs, from a file of the volume's digest if there is one."""
    file = folder / f"{volume_sha256(errors.original)}.json"
    if file.is_file():
        stored = json.loads(file.read_text(encoding="utf-8"))
        return [Curve(c["name"], tuple(RatePoint(**p) for p in c["points"])) for c in stored]
    notes: list[str] = []
    curves = list(codec_curves(errors, notes))
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    if not notes:
        write_json(file, [asdict(curve) for curve in curves])
    return curves


def noise(original: Volume, other: Volume, body: Mask) -> float | None:
    """Return the variance of the noise in flat regions over that of the original."""
    return measure_texture(original, other, body).noise_ratio


def at_rate(volume: Volume, bits: float, curve: Curve) -> Volume | None:
    """Return the reconstruction of a codec at about a rate, or ``None`` if it needs more."""
    points = sorted(curve.points, key=lambda p: p.bits_per_voxel)
    if not points[0].bits_per_voxel <= bits:
        return None
    if curve.name == "sperr":
        return sperr_baseline(volume, bits).volume
    rates = np.log([point.bits_per_voxel for point in points])
    level = float(np.interp(np.log(bits), rates, [point.level for point in points]))
    if curve.name == "jpeg2000":
        return jpeg2000_at_rmse(volume, level).volume
    return hevc_baseline(volume, min(round(level), HIGHEST_QP)).volume


def write_picture(found: Sequence[Measured], path: Path) -> None:
    """Write the curves of all models and codecs, one row per volume, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2 * len(found)), layout="constrained")
    rows = figure.subplots(len(found), len(REGIONS), squeeze=False)
    for row, each in zip(rows, found, strict=True):
        curves = []
        for (model, case), color in zip(each.models.items(), _COLORS, strict=False):
            own = case.curve(MODEL)
            assert own is not None
            curves.append((own, MethodStyle(model, color)))
        curves += [(curve, METHODS[name]) for name, curve in each.codecs.items()]
        for axes, region in zip(row, REGIONS, strict=True):
            draw_curves(axes, curves, region, f"{each.name}: {TITLES[region].lower()}")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=90)


def main() -> None:
    """Measure and write the page and its plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("volumes", nargs="+", help="CT volume, as PATH or NAME=PATH")
    parser.add_argument("--model", action="append", help="model; may be repeated")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        help="weights of another project, as [NAME=]WEIGHTS[,CONFIG]; may be repeated",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument(
        "--kept",
        type=Path,
        default=Path("build/codec_curves"),
        help="folder that keeps the curves of the codecs for the next time",
    )
    parser.add_argument("--picture", type=Path, help="PNG to write; default: beside the page")
    given = parser.parse_args()
    folders = [convert(text, given.output.parent / "models") for text in given.weights]
    names = [*(given.model or ["ct-f4", "ct-f4c16"]), *folders]
    models = [ct_vae.load_codec(name) for name in names]
    found = []
    for text in given.volumes:
        name, named, path = text.partition("=")
        file = Path(path if named else text)
        short = name if named else file.name.split(".")[0]
        found.append(measure(short, file, models, given.kept))
    picture = given.picture or given.output.with_suffix(".png")
    write_picture(found, picture)
    write_text(given.output, page(found, os.path.relpath(picture, given.output.parent)))


if __name__ == "__main__":
    main()
