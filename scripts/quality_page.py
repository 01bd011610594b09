"""Markdown page of ``quality.py``: tables and statements about rate-distortion curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ct_vae.evaluation.pictures.method_styles import METHODS
from ct_vae.evaluation.rate_distortion.curve import (
    REGIONS,
    Curve,
    Region,
    bd_rate,
    crossings,
)
from ct_vae.evaluation.rate_distortion.summary import MODEL, CaseCurves
from ct_vae.masks import Mask
from ct_vae.volume import Volume

CODECS = ("jpeg2000", "sperr", "hevc")
# Peers whose weights this package does not contain; `compare_models.sh` measures them.
PEERS = ("MAISI", "MedVAE", "OpenVAE-3D")
# Rates of the table of codecs, in bits per voxel.
RATES = (0.05, 0.1, 0.2, 0.3, 0.5)
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

_ABOUT = """\
# Quality at equal bits

This page compares models with image codecs on the same CT, in the same windows and inside the
same mask. `scripts/quality.py` writes it from measurements.

RMSE is in HU inside the body: "body" is clipped to [-1024, 3000] HU, "soft tissue" to [-160,
240] HU. "Noise kept" is the variance of the noise in flat soft tissue over that of the original
(`noise_ratio`): a method that removes noise has a lower number.

Bits of models and of the KLT are those of range-coded latents with their record. The weights of
the model and the transform of the KLT, which is fitted on the volume itself and has as many
numbers as the model, are not counted. JPEG 2000 codes axial slices with one header per volume,
SPERR codes the volume, and HEVC (x265, Main 12, medium) codes axial slices as frames with HU
clipped to [-1024, 3071].
"""
_SHORT = """\
## In short

Where the RMSE of a model in the body is below that of a codec, in bits per voxel, over the rates
that both have:
"""
_RATES = """\
## RMSE in the body at fixed rates

Columns are bits per voxel. A dash means that the method does not reach the rate.
"""
_MODEL = """\
The rate is that at which quantization raises the RMSE in the body by 1 %. The other methods are
at the same rate, and the KLT at its largest one if that is lower.
"""
_VERDICT = """\
A negative BD-rate means that the model needs fewer bits at equal RMSE. Rates are in bits per
voxel.
"""
_NOISE = """\
Training the decoder with the noise of a step does not move the crossings, see
[training at a step](latents.md#does-training-at-a-step-help).
"""
_PEERS = """\
## Models beside each other

RMSE in the body / RMSE in the soft tissue window / noise kept, of latents that are not
quantized. `scripts/compare_models.sh WEIGHTS...` converts and measures weights of other
projects. No weights of MAISI, MedVAE and OpenVAE-3D are part of this package, so their rows are
empty until it has run with them.
"""


@dataclass
class Measured:
    """Results of one volume.

    Attributes:
        name: Name of the volume.
        volume: Volume.
        body: Mask of its body.
        codecs: Curves of the codecs by name.
        models: Curves and errors by name of the model.
        noise: Ratio of the noise variances, by model and by method at the rate of the model.
    """

    name: str
    volume: Volume
    body: Mask
    codecs: dict[str, Curve] = field(default_factory=dict)
    models: dict[str, CaseCurves] = field(default_factory=dict)
    noise: dict[tuple[str, str], float | None] = field(default_factory=dict)


def page(found: Sequence[Measured], picture: str) -> str:
    """Return the Markdown page.

    Args:
        found: Results of all volumes, with the same models.
        picture: Path of the picture with the curves.
    """
    parts = [_ABOUT, "\n".join(_volumes(found)), _SHORT, "\n".join(short(found)), _NOISE]
    parts.append(f"![Rate-distortion curves]({picture})")
    parts += [_RATES, "\n".join(curve_table(found))]
    for model in found[0].models:
        parts += [f"## {model}", _MODEL, "\n".join(model_table(found, model))]
        parts += [_VERDICT, "\n".join(verdicts(found, model))]
    parts += [_PEERS, "\n".join(peer_table(found))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _volumes(found: Sequence[Measured]) -> list[str]:
    lines = ["| volume | voxels | spacing, mm |", "|---|---|---|"]
    for each in found:
        grid = each.volume.grid
        spacing = " x ".join(f"{s:.3g}" for s in grid.spacing_mm)
        lines.append(f"| {each.name} | {' x '.join(map(str, grid.shape))} | {spacing} |")
    return lines


def statement(model: Curve, other: Curve, region: Region) -> str:
    """Say in words where a model has a lower error than another method."""
    sides = [curve.front(region)[0] for curve in (model, other)]
    if any(len(rates) < 2 for rates in sides):
        return "not comparable"
    low, high = max(r[0] for r in sides), min(r[-1] for r in sides)
    if low >= high:
        return "not comparable: no common rates"
    ends = [low, *crossings(model, other, region), high]
    better = []
    for start, end in pairwise(ends):
        middle = float(np.sqrt(start * end))
        mine, theirs = (curve.error_at(middle, region) for curve in (model, other))
        if mine is not None and theirs is not None and mine < theirs:
            better.append((start, end))
    if not better:
        return f"above it from {low:.3f} to {high:.3f}"
    if better == [(low, high)]:
        return f"below it at all common rates, {low:.3f} to {high:.3f}"
    spans = " and ".join(f"from {a:.3f} to {b:.3f}" for a, b in better)
    return f"below it {spans}, above it elsewhere"


def short(found: Sequence[Measured]) -> list[str]:
    """Return one line per model and codec that says where the model is better."""
    lines = []
    for model in found[0].models:
        for name in CODECS:
            parts = []
            for each in found:
                own, other = each.models[model].curve(MODEL), each.codecs.get(name)
                if own is not None and other is not None:
                    parts.append(f"{each.name}: {statement(own, other, 'body')}")
            lines.append(f"- **{model}** and {METHODS[name].label}: {'; '.join(parts)}.")
    return lines


def model_table(found: Sequence[Measured], model: str) -> list[str]:
    """Return the table of one model beside codecs and KLT at the rate of +1 % RMSE."""
    lines = [
        "| volume | method | bits per voxel | RMSE body | RMSE soft tissue | noise kept |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        case = each.models[model]
        own = case.curve(MODEL)
        rate = case.bits_at_rise("body")
        lines.append(
            _row(
                each.name,
                f"**{model}**, not quantized",
                None,
                case.errors,
                each.noise.get((model, model)),
            )
        )
        if own is None or rate is None:
            continue
        errors = {region: own.error_at(rate, region) for region in REGIONS}
        lines.append(_row("", f"**{model}** at +1 % RMSE", rate, errors, None))
        for name in (*CODECS, "klt"):
            curve = each.codecs.get(name) or case.curve(name)
            if curve is None:
                continue
            # A code with few numbers cannot use more bits.
            most = min(rate, max(p.bits_per_voxel for p in curve.points)) if name == "klt" else rate
            at = {region: curve.error_at(most, region) for region in REGIONS}
            lines.append(_row("", METHODS[name].label, most, at, each.noise.get((model, name))))
    return lines


def curve_table(found: Sequence[Measured]) -> list[str]:
    """Return the RMSE in the body of all methods at fixed rates, interpolated."""
    models = list(found[0].models)
    head = " | ".join(f"{rate:g}" for rate in RATES)
    lines = [f"| volume | method | {head} |", "|---" * (len(RATES) + 2) + "|"]
    for each in found:
        curves = {f"**{m}**": each.models[m].curve(MODEL) for m in models}
        curves |= {METHODS[name].label: curve for name, curve in each.codecs.items()}
        for place, (label, curve) in enumerate(curves.items()):
            cells = [
                _number(None if curve is None else curve.error_at(rate, "body"), 1)
                for rate in RATES
            ]
            lines.append(f"| {'' if place else each.name} | {label} | {' | '.join(cells)} |")
    return lines


def verdicts(found: Sequence[Measured], model: str) -> list[str]:
    """Return BD-rates, and where the model is below each method, per volume and region."""
    lines = [
        "| volume | region | compared with | BD-rate | the error of the model is |",
        "|---|---|---|---|---|",
    ]
    for each in found:
        case = each.models[model]
        own = case.curve(MODEL)
        assert own is not None
        others = {**each.codecs, "klt": case.curve("klt")}
        for region in REGIONS:
            for name, curve in others.items():
                if curve is None:
                    continue
                delta = bd_rate(own, curve, region)
                text = DASH if delta is None else f"{delta:+.0f} %".replace("-", MINUS)
                lines.append(
                    f"| {each.name} | {region.replace('_', ' ')} | "
                    f"{METHODS[name].label} | {text} | {statement(own, curve, region)} |"
                )
    return lines


def peer_table(found: Sequence[Measured]) -> list[str]:
    """Return one row per model with its unquantized errors, and rows for models not measured."""
    head = " | ".join(each.name for each in found)
    lines = [f"| model | {head} |", "|---" * (len(found) + 1) + "|"]
    for model in found[0].models:
        cells = []
        for each in found:
            errors = each.models[model].errors
            ratio = _number(each.noise.get((model, model)), 2)
            cells.append(f"{errors['body']:.1f} / {errors['soft_tissue']:.1f} / {ratio}")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    missing = [p for p in PEERS if not any(p.lower() in m.lower() for m in found[0].models)]
    lines += [f"| {peer} | {' | '.join([DASH] * len(found))} |" for peer in missing]
    return lines


def _row(
    volume: str,
    method: str,
    bits: float | None,
    errors: Mapping[Region, float | None],
    ratio: float | None,
) -> str:
    cells = [volume, method, _number(bits, 3), *(_number(errors[r], 1) for r in REGIONS)]
    return f"| {' | '.join(cells)} | {_number(ratio, 2)} |"


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"
