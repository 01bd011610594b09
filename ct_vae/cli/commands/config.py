"""``ct-vae config``: check a configuration, show it with defaults, print its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae import terminal

app = typer.Typer(help="Check, show and describe run configurations.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="Run configuration, a JSON file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Override a key, such as training.lr=2e-4.")
]


@app.command()
def check(config: File, overrides: Overrides = []) -> None:  # noqa: B006 - typer never changes it
    """Say what is wrong with a configuration, or that nothing is."""
    from ct_vae.config.load import load_config

    load_config(config, overrides)
    terminal.show(f"{config}: ok")


@app.command()
def show(config: File, overrides: Overrides = []) -> None:  # noqa: B006 - typer never changes it
    """Print a configuration with every key and its value."""
    from ct_vae.config.load import load_config

    terminal.show_json(load_config(config, overrides).as_json())


@app.command()
def schema() -> None:
    """Print the JSON Schema of configurations."""
    from ct_vae.config.schema import schema_text

    terminal.show_text(schema_text())
