"""``ct-vae bundle``: a trained model as a MONAI Bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options
from ct_vae.terminal import show


def bundle(
    model: options.Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older bundle, or an empty folder.")
    ] = False,
    authors: Annotated[str, typer.Option(help="Who made the model.")] = "not stated",
    copyright_: Annotated[
        str, typer.Option("--copyright", help="Who holds the rights in it.")
    ] = "not stated",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
) -> None:
    """Write a MONAI Bundle: configurations that encode, decode, evaluate and train, and weights."""
    from ct_vae.bundle.metadata import Imprint
    from ct_vae.bundle.write_bundle import write_bundle
    from ct_vae.config.default_models import find_model

    write_bundle(find_model(model), output, overwrite, Imprint(authors, copyright_, version))
    show(output)
