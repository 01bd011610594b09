"""``ct-vae bundle``: a trained model as a MONAI Bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options


def bundle(
    model: options.Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that is there already.")
    ] = False,
) -> None:
    """Write a MONAI Bundle: configurations that encode, decode, evaluate and train, and weights."""
    from ct_vae.bundle.writer import write_bundle

    write_bundle(model, output, overwrite)
    typer.echo(output)
