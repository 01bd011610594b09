"""``ct-vae info``: describe a configuration, model, latent, volume or DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ct_vae.terminal import show, show_json

if TYPE_CHECKING:
    from ct_vae.config.model import ModelConfig
    from ct_vae.grid import Grid
    from ct_vae.io import FoundSeries


def info(
    path: Annotated[
        str,
        typer.Argument(
            help="Configuration, model (also by name), latent, volume, DICOM folder, archive or "
            "URL.",
            metavar="FILE",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a configuration, model, latent, volume or DICOM series, without patient data.

    Volumes are described even if they are not CT in HU. For a folder with several DICOM series,
    all series are listed; if exactly one can be read, its volume is described too.

    Example: ct-vae info case_latent.nii.gz
    """
    from ct_vae.find_volumes.remote_cases import local_copies

    with local_copies([path]) as (paths, _):
        facts = _facts(paths[0])
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        rows = _rows(value)
        if name == "record":
            show("record: printed by --json")
        elif rows is not None:
            for line in (f"{name}:", *(f"  {row}" for row in rows)):
                show(line)
        elif value is not None:
            show(f"{name}: {_text(value)}")


def _rows(value: Any) -> list[str] | None:
    """Return the lines of a table, a matrix or a list of sentences; ``None`` for other values."""
    if not isinstance(value, list) or not value:
        return None
    if isinstance(value[0], dict):
        return list(map(_text, value))
    if isinstance(value[0], list):
        return [_text(row) for row in value]
    sentences = any(isinstance(each, str) and " " in each for each in value)
    return list(map(str, value)) if sentences else None


def _text(value: Any, between: str = ", ") -> str:
    """Format a value for people, numbers with six digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        facts = (f"{k} {_text(v, ' x ')}" for k, v in value.items() if v not in (None, ""))
        return ", ".join(facts)
    if isinstance(value, list | tuple):
        return between.join(map(_text, value)) or "none"
    return str(value)


def _facts(path: Path) -> dict[str, Any]:
    from ct_vae.io.formats import path_kind
    from ct_vae.io.latent.record import latent_of_record

    path = _in_package(path)
    kind = path_kind(path)
    if kind in {"latent", "record"}:
        return _latent_facts(latent_of_record(path) if kind == "record" else path)
    # Missing and damaged files are classified by their name.
    if kind == "model" or path.suffix == ".safetensors":
        return _model_folder_facts(path if path.is_dir() else path.parent)
    if path.suffix == ".json":
        return _config_facts(path)
    if kind in {"series", "folder", "archive", "dicom"}:
        return _series_facts(path)
    return _volume_facts(path)


def _in_package(path: Path) -> Path:
    """Return the path of a default model or configuration given by name; others as they are."""
    from ct_vae.config.default_models import default_models, find_model
    from ct_vae.config.package_names import is_package_name
    from ct_vae.config.shipped_configs import find_config, shipped_configs

    if is_package_name(path, default_models()):
        return find_model(path)
    return find_config(path) if is_package_name(path, shipped_configs()) else path


def _config_facts(path: Path) -> dict[str, Any]:
    from ct_vae.config.load import load_config

    return {"kind": "run configuration", **_model_facts(load_config(path).model)}


def _model_folder_facts(path: Path) -> dict[str, Any]:
    from ct_vae.models.model_folder import load_model_folder

    loaded = load_model_folder(path)
    config = loaded.config
    steps = config.preprocess
    return {
        "kind": "model",
        "name": config.name,
        "sha256": loaded.sha256,
        "samples seen": config.samples_seen,
        "axes": steps.axcodes,
        "resampled to mm": steps.spacing_mm and list(steps.spacing_mm),
        "HU window": list(steps.window_hu),
        "model range": list(steps.model_range),
        "scaling factor": config.latent.scaling_factor,
        "shift factor": config.latent.shift_factor,
        "latent mean": config.latent.mean and list(config.latent.mean),
        "latent std": config.latent.std and list(config.latent.std),
        **_model_facts(config.model),
    }


def _model_facts(config: ModelConfig) -> dict[str, Any]:
    from dataclasses import asdict
    from math import log2, prod

    import torch

    from ct_vae.models import build_untrained

    with torch.device("meta"):
        model = build_untrained(config.model_copy(update={"ckpt_path": None}))
    codes = {}
    if config.reg_type == "vq":
        bits = log2(config.codebook_size)
        codes = {
            "quantizer": config.quantizer,
            "codes": config.codebook_size,
            "bits per voxel": bits / prod(config.factor),
        }
    return {
        "latent type": config.latent_type,
        "factor": list(config.factor),
        "latent channels": config.latent_channels,
        **codes,
        "compression in numbers": config.compression,
        "parameters": sum(p.numel() for p in model.parameters()),
        "stages": [asdict(stage) for stage in model.describe()],
    }


def _latent_facts(path: Path) -> dict[str, Any]:
    from ct_vae.io import read_latent

    latent = read_latent(path)
    record = latent.record
    return {
        "kind": "latent",
        "content": record.kind,
        "layout": record.layout,
        "shape": list(latent.array.shape),
        **_place(latent.grid),
        "lowest value": float(latent.array.min()),
        "highest value": float(latent.array.max()),
        "mean": record.statistics and list(record.statistics.mean),
        "std": record.statistics and list(record.statistics.std),
        "standard deviations": record.posterior,
        "stored as": record.quantisation and record.quantisation.dtype,
        "largest error": record.quantisation and record.quantisation.max_abs_error,
        "predicted rise of RMSE": record.quantisation and record.quantisation.rmse_rise,
        "model": record.model.name,
        "warnings": list(record.warnings),
        "record": record.model_dump(mode="json"),
    }


def _series_facts(path: Path) -> dict[str, Any]:
    from ct_vae.io.dicom.scan import scan_series, split_series_path

    place, wanted = split_series_path(path)
    found = [each for each in scan_series(place) if wanted in ("", each.id)]
    facts: dict[str, Any] = {"kind": "DICOM", "series": [_series_row(each) for each in found]}
    if sum(each.verdict == "ok" for each in found) == 1 or not found:
        facts |= _volume_facts(path) | {"kind": "DICOM volume"}
    return facts


def _series_row(series: FoundSeries) -> dict[str, Any]:
    return {
        "id": series.id,
        "number": series.number,
        "modality": series.modality,
        "slices": series.slices,
        "size": series.size and list(series.size),
        "spacing mm": series.spacing_mm and list(series.spacing_mm),
        "verdict": series.verdict,
        "reason": series.reason,
    }


def _volume_facts(path: Path) -> dict[str, Any]:
    import numpy as np

    from ct_vae.io import ReadOptions, read_volume

    volume = read_volume(path, ReadOptions(force=True))
    outside = volume.outside_fov
    return {
        "kind": "volume",
        "shape": list(volume.grid.shape),
        **_place(volume.grid),
        "lowest HU": float(volume.voxels.min()),
        "highest HU": float(volume.voxels.max()),
        "outside the field of view": 0.0 if outside is None else float(np.mean(outside)),
        **volume.source,
        "derived by a model": volume.derived,
        "warnings": list(volume.warnings),
    }


def _place(grid: Grid) -> dict[str, Any]:
    """Return the position and orientation of a grid."""
    last = [n - 1 for n in grid.shape]
    return {
        "spacing mm": list(grid.spacing_mm),
        "axes": grid.axcodes,
        "first voxel mm RAS": grid.to_world((0, 0, 0)).tolist(),
        "last voxel mm RAS": grid.to_world(last).tolist(),
        "affine": grid.affine.tolist(),
    }
