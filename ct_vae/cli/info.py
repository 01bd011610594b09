"""``ct-vae info``: what a configuration, model, latent or volume is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ct_vae.config.model import ModelConfig


def info(
    path: Annotated[Path, typer.Argument(help="Configuration, model folder, latent or volume.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a configuration, model folder, latent or volume is."""
    facts = _facts(path)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [", ".join(f"{k} {v}" for k, v in row.items()) for row in value]
            typer.echo("\n  ".join([f"{name}:", *rows]))
        elif isinstance(value, dict):
            rows = [f"{k}: {json.dumps(v)}" for k, v in value.items()]
            typer.echo("\n  ".join([f"{name}:", *rows]))
        else:
            typer.echo(f"{name}: {value}")


def _facts(path: Path) -> dict[str, Any]:
    from ct_vae.io.discover import is_latent

    if path.suffix == ".json":
        return _json_facts(path)
    if path.is_dir() or path.suffix == ".safetensors":
        return _folder_facts(path if path.is_dir() else path.parent)
    return _latent_facts(path) if is_latent(path) else _volume_facts(path)


def _json_facts(path: Path) -> dict[str, Any]:
    from ct_vae.config.load import load_config, read_json

    kind = read_json(path).get("format")
    if kind == "ct_vae.model":
        return _folder_facts(path.parent)
    if kind == "ct_vae.latent":
        return _latent_facts(path.with_name(f"{path.stem}.nii.gz"))
    config = load_config(path)
    return {"kind": "run configuration", **_model_facts(config.model)}


def _folder_facts(path: Path) -> dict[str, Any]:
    from ct_vae.models.model_folder import load_model_folder

    loaded = load_model_folder(path)
    config = loaded.config
    return {
        "kind": "model",
        "name": config.name,
        "sha256": loaded.sha256,
        "samples seen": config.samples_seen,
        "HU window": list(config.preprocess.window_hu),
        "scaling factor": config.latent.scaling_factor,
        "latent std": config.latent.std and list(config.latent.std),
        **_model_facts(config.model),
    }


def _model_facts(config: ModelConfig) -> dict[str, Any]:
    from dataclasses import asdict
    from math import prod

    import torch

    from ct_vae.models import build_untrained

    with torch.device("meta"):
        model = build_untrained(config.model_copy(update={"ckpt_path": None}))
    values = prod(config.factor) * config.in_channels / config.latent_channels
    return {
        "latent type": config.latent_type,
        "factor": list(config.factor),
        "latent channels": config.latent_channels,
        "compression in numbers": values,
        "parameters": sum(p.numel() for p in model.parameters()),
        "stages": [asdict(stage) for stage in model.describe()],
    }


def _latent_facts(path: Path) -> dict[str, Any]:
    from ct_vae.io import read_latent

    latent = read_latent(path)
    return {
        "kind": "latent",
        "shape": list(latent.array.shape),
        "spacing mm": list(latent.grid.spacing_mm),
        "axes": latent.grid.axcodes,
        "record": latent.record.model_dump(mode="json"),
    }


def _volume_facts(path: Path) -> dict[str, Any]:
    from ct_vae.io import ReadOptions, read_volume

    volume = read_volume(path, ReadOptions(force=True))
    return {
        "kind": "volume",
        "shape": list(volume.grid.shape),
        "spacing mm": list(volume.grid.spacing_mm),
        "axes": volume.grid.axcodes,
        "lowest HU": float(volume.voxels.min()),
        "highest HU": float(volume.voxels.max()),
        **volume.source,
        "warnings": list(volume.warnings),
    }
