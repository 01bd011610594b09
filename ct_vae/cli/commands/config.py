"""``ct-vae config``: check configurations, show their values, print the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae import terminal

app = typer.Typer(
    help="Check or show a run configuration, or print the JSON Schema.", no_args_is_help=True
)
File = Annotated[Path, typer.Argument(help="Run configuration, a JSON file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Override a key, such as training.lr=2e-4.")
]


@app.command()
def check(config: File, overrides: Overrides = []) -> None:  # noqa: B006 - typer never changes it
    """Check a configuration and list all errors.

    Example: ct-vae config check configs/kl_f4.json
    """
    from ct_vae.config.load import load_config

    load_config(config, overrides)
    terminal.show(f"{config}: ok")


@app.command()
def show(config: File, overrides: Overrides = []) -> None:  # noqa: B006 - typer never changes it
    """Print a configuration with all keys, defaults included.

    Example: ct-vae config show configs/kl_f4.json --set training.lr=2e-4
    """
    from ct_vae.config.load import load_config

    terminal.show_json(load_config(config, overrides).as_json())


@app.command()
def schema() -> None:
    """Print the JSON Schema of configurations.

    Example: ct-vae config schema > schema.json
    """
    from ct_vae.config.load import schema_text

    terminal.show_text(schema_text())
