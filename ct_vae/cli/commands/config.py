"""``ct-vae config``: list, copy, check and show configurations, and print the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae import terminal
from ct_vae.cli import options

app = typer.Typer(
    help="List, copy, check or show run configurations, or print the JSON Schema.",
    no_args_is_help=True,
)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the configurations of the package, which can be given by name for CONFIG.

    Example: ct-vae config list
    """
    from ct_vae.config.load import load_config
    from ct_vae.config.shipped_configs import find_config, shipped_configs

    rows = [
        {"name": name, "notes": load_config(name).notes, "path": str(find_config(name))}
        for name in shipped_configs()
    ]
    if as_json:
        terminal.show_json(rows)
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        terminal.show(f"{row['name']:<{width}}  {row['notes']}")


@app.command()
def new(
    config: options.Config,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSON file to write.", metavar="FILE")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = (
        False
    ),
) -> None:
    """Copy a configuration to a new file, to be edited.

    schema.json is written to the same folder if it does not exist, so that editors complete and
    explain keys.

    Example: ct-vae config new kl_f4 -o my.json
    """
    from ct_vae.config.load import load_config
    from ct_vae.config.shipped_configs import SCHEMA, find_config
    from ct_vae.errors import ConfigError
    from ct_vae.io.atomic.file import write_text

    if output.suffix != ".json":
        raise ConfigError(f"-o {output} is not a .json file", "give a name such as my.json")
    schema = output.with_name(SCHEMA.name)
    if output == schema:
        raise ConfigError(f"-o {output} is the name of the schema", "give a name such as my.json")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists", "choose another name, or add --overwrite")
    load_config(config)
    write_text(output, find_config(config).read_text("utf-8"))
    if not schema.exists():
        write_text(schema, SCHEMA.read_text("utf-8"))
    terminal.show(output)


@app.command()
def check(
    config: options.Config,
    overrides: options.Overrides = [],  # noqa: B006 - typer never changes it
) -> None:
    """Check a configuration and list all errors.

    Example: ct-vae config check my.json
    """
    from ct_vae.config.load import load_config

    load_config(config, overrides)
    terminal.show(f"{config}: ok")


@app.command()
def show(
    config: options.Config,
    overrides: options.Overrides = [],  # noqa: B006 - typer never changes it
) -> None:
    """Print a configuration with all keys, defaults included.

    Example: ct-vae config show kl_f4 --set training.lr=2e-4
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
