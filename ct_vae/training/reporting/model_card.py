"""Model card of a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ct_vae.config.loss import ObjectiveConfig
from ct_vae.config.model import ModelConfig
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.training.reporting.bit_rate import bits_per_voxel

_TEMPLATE = """# {name}

A volumetric autoencoder for CT, trained with ct_vae.

## Intended use
Encodes CT in Hounsfield units to a small latent volume and decodes it: for latent generative
models, for features, and for compression where loss is accepted.

## Limits
- Reconstructions are lossy and derived: **not for diagnosis**, and no replacement of the original.
- HU {low:g} to {high:g} are represented; values outside are clipped.
- The numbers below hold for CT like that of the training and validation cases. Check any other
  scanner, kernel, dose, spacing or anatomy with `ct-vae evaluate` before you rely on it.
- A good error in HU does not mean that small findings or the texture of noise are kept.

## Architecture
{architecture}
## Training data
{data}
## Objective
{objective}
## Validation
{metrics}
## Latent
{latent}
## Licence
{licence}
"""


@dataclass(frozen=True)
class TrainingSummary:
    """Facts of a run for its model card, without names and paths.

    Attributes:
        parameters: Number of parameters of the autoencoder.
        train_cases: Number of training cases, or of items of a data set given in Python.
        val_cases: Number of validation cases.
        patch: Size of a training patch in voxels.
        objective: The training objective.
        spacings_mm: Spacings of training cases; empty if unknown.
        last: Metrics of the last validation by name, with units in the names.
        best: Metrics of the best validation.
        best_samples: Samples seen by the best model; ``None`` without one.
        val_patches: True if validation cases are patches instead of volumes.
    """

    parameters: int
    train_cases: int
    val_cases: int
    patch: tuple[int, ...]
    objective: ObjectiveConfig
    spacings_mm: Sequence[tuple[float, float, float]] = ()
    last: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    best_samples: int | None = None
    val_patches: bool = False


def model_card(
    config: ModelFolderConfig, summary: TrainingSummary, licence: str | None = None
) -> str:
    """Return the model card in Markdown.

    Args:
        config: Configuration of the model.
        summary: Facts of the training run.
        licence: License of the weights, such as ``CC-BY-4.0``; ``None`` if unknown.
    """
    low, high = config.preprocess.window_hu
    return _TEMPLATE.format(
        name=config.name,
        low=low,
        high=high,
        architecture=_bullets(_architecture(config.model, summary.parameters)),
        data=_bullets(_data(config, summary)),
        objective=_bullets(_objective(config.model, summary.objective)),
        metrics=_metrics(config.samples_seen, summary),
        latent=_bullets(_latent(config.latent)),
        licence=licence or "Not stated: ask whoever gave you the weights before you use them.",
    )


def _architecture(model: ModelConfig, parameters: int) -> list[str]:
    codes = "" if model.latent_type == "kl" else f", {model.codebook_size:,} codes"
    return [
        f"{model.latent_type}, {model.spatial_dims}-D, {parameters:,} parameters",
        f"{_sides(model.factor)} voxels per latent voxel, {model.latent_channels} latent "
        f"channels{codes}",
        f"{model.compression:.3g} : 1 in numbers, {bits_per_voxel(model):.3g} bits per voxel on "
        "disk before any entropy coding",
    ]


def _data(config: ModelFolderConfig, summary: TrainingSummary) -> list[str]:
    spacing = config.preprocess.spacing_mm
    seen = "not counted" if config.samples_seen is None else f"{config.samples_seen:,}"
    kind = "patches" if summary.val_patches else "cases"
    return [
        f"{summary.train_cases} training cases, {summary.val_cases} validation {kind}",
        f"{seen} patches of {_sides(summary.patch)} voxels seen",
        f"spacing of training cases: {_spread(summary.spacings_mm)}",
        "trained at " + (f"{_sides(spacing)} mm" if spacing else "each case's own spacing"),
    ]


def _spread(spacings: Sequence[tuple[float, float, float]]) -> str:
    if not spacings:
        return "not known"
    axes = zip(*spacings, strict=True)
    ends = [(f"{min(axis):.3g}", f"{max(axis):.3g}") for axis in axes]
    return " x ".join(low if low == high else f"({low} to {high})" for low, high in ends) + " mm"


def _objective(model: ModelConfig, objective: ObjectiveConfig) -> list[str]:
    """Return lines about the reconstruction loss and every other term with an effect."""
    silent = _silent(model, objective)
    kinds = {"kl": objective.kl_reduction, "adversarial": objective.adversarial_loss}
    faces = f", {objective.face_weight:g} times at faces of latent voxels"
    lines = [f"reconstruction: {objective.recon_type}{faces if objective.face_weight != 1 else ''}"]
    for key, weight in objective.model_dump().items():
        name = key.removesuffix("_weight")
        if name != key and name not in silent and weight:
            kind = f" ({kinds[name]})" if name in kinds else ""
            lines.append(f"{name.replace('_', ' ')}{kind}: weight {weight:g}")
    lines += [f"window {w.name}: weight {weight:g}" for w, weight in objective.windows.items()]
    return lines


def _silent(model: ModelConfig, objective: ObjectiveConfig) -> set[str]:
    """Return the terms without effect for this kind of latent, or without an adversary."""
    used = {"kl": {"kl"}, "ema": {"commitment"}, "lfq": {"commitment", "entropy"}}
    silent = {"face", "kl", "commitment", "entropy"} - used.get(model.quantizer or "kl", set())
    if objective.adversarial_weight == 0:
        silent |= {"feature_matching", "r1", "lecam"}
    return silent


def _metrics(samples_seen: int | None, summary: TrainingSummary) -> str:
    names = list(dict.fromkeys([*summary.last, *summary.best]))
    if not names:
        return "None was made.\n"
    best = "" if summary.best_samples is None else f" ({summary.best_samples:,} samples)"
    last = "" if samples_seen is None else f" ({samples_seen:,} samples)"
    rows = [f"| metric | last{last} | best{best} |", "|---|---|---|"]
    for name in names:
        pair = (_number(values.get(name)) for values in (summary.last, summary.best))
        rows.append(f"| {name.removeprefix('val_')} | {' | '.join(pair)} |")
    cases = "Patches, over all voxels" if summary.val_patches else "Whole cases, inside the body"
    return (
        f"{cases}; errors are means over cases. The data range of a PSNR is "
        "the\nwidth of its window: 4024 HU for `full`, 400 HU for `soft_tissue`.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def _latent(latent: LatentConfig) -> list[str]:
    over = "" if latent.samples is None else f", measured over {latent.samples} training patches"
    return [
        f"scaling factor {latent.scaling_factor:.6g}{over}",
        f"mean per channel: {_numbers(latent.mean)}",
        f"standard deviation per channel: {_numbers(latent.std)}",
    ]


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _sides(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _numbers(values: tuple[float, ...] | None) -> str:
    return "not measured" if values is None else ", ".join(f"{v:.4g}" for v in values)
