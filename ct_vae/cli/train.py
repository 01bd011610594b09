"""``ct-vae train``: from a configuration to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options


def train(
    config: Annotated[Path, typer.Argument(help="Run configuration, a JSON file.")],
    overrides: Annotated[
        list[str], typer.Option("--set", help="Override a key, such as training.lr=2e-4.")
    ] = [],  # noqa: B006 - typer reads it as the default and never changes it
    device: options.Device = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")
    ] = False,
) -> None:
    """Train an autoencoder; the run folder becomes a model folder."""
    from ct_vae.config.load import load_config

    settings = load_config(config, overrides)

    from ct_vae.training import train as run

    folder = run(None, settings, device=device, name=config.stem, overwrite=overwrite)
    typer.echo(folder)
