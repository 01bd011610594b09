"""``ct-vae models``: list the default models of the package."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ct_vae.terminal import show, show_json


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the default models, which can be given by name for MODEL.

    Example: ct-vae models
    """
    from ct_vae.config.default_models import default_models

    rows = [_row(name) for name in default_models()]
    if as_json:
        show_json(rows)
        return
    for row in rows:
        factor = " x ".join(map(str, row["factor"]))
        show(
            f"{row['name']}: {factor} voxels become {row['channels']} numbers "
            f"({row['compression']:g} : 1), {row['megabytes']} MB"
        )
        show(f"  {_without_sizes(row)}")
    if not rows:
        show("this installation has no default models")


def _without_sizes(row: dict[str, Any]) -> str:
    """Return the summary of a model without a first sentence that repeats its sizes."""
    summary: str = row["summary"]
    first, _, rest = summary.partition(". ")
    return rest if rest and f"become {row['channels']} numbers" in first else summary


def _row(name: str) -> dict[str, Any]:
    from ct_vae.config.default_models import find_model
    from ct_vae.config.model_folder import parse_model_folder

    folder = find_model(name)
    config = parse_model_folder((folder / "config.json").read_text("utf-8"), name)
    card = (folder / "MODEL_CARD.md").read_text("utf-8").splitlines()
    # The first paragraph of the model card describes the model and its quality.
    text = [line for line in card if line and not line.startswith(("#", "---"))]
    return {
        "name": name,
        "factor": list(config.model.factor),
        "channels": config.model.latent_channels,
        "compression": config.model.compression,
        "megabytes": round((folder / "model.safetensors").stat().st_size / 1e6, 1),
        "summary": text[0] if text else "",
        "path": str(folder),
    }
