"""``ct-vae bundle``: write a model as a MONAI Bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options
from ct_vae.cli.progress import with_progress
from ct_vae.terminal import show


@with_progress
def bundle(
    model: options.Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder of the bundle.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle or empty folder.")
    ] = False,
    authors: Annotated[str, typer.Option(help="Authors of the model.")] = "not stated",
    copyright_: Annotated[
        str, typer.Option("--copyright", help="Copyright holder of the model.")
    ] = "not stated",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
) -> None:
    """Write a MONAI Bundle: weights, and configurations to encode, decode, evaluate and train.

    Example: ct-vae bundle runs/kl_f4 -o bundle --authors "A. Author"
    """
    from ct_vae.bundle.metadata import Imprint
    from ct_vae.bundle.write_bundle import write_bundle
    from ct_vae.config.default_models import find_model

    write_bundle(find_model(model), output, overwrite, Imprint(authors, copyright_, version))
    show(output)
