"""``ct-vae train``: from a configuration to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options
from ct_vae.terminal import show


def train(
    config: Annotated[Path, typer.Argument(help="Run configuration, a JSON file.")],
    overrides: Annotated[
        list[str], typer.Option("--set", help="Override a key, such as training.lr=2e-4.")
    ] = [],  # noqa: B006 - typer reads it as the default and never changes it
    device: options.Device = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest whole state, or begin.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the data, try a step, print the plan, stop.")
    ] = False,
) -> None:
    """Train an autoencoder; the run folder becomes a model folder.

    SIGTERM, SIGINT and SIGUSR1 end it after the step at hand with everything saved (exit code 75).
    """
    from ct_vae.config.load import load_config

    settings = load_config(config, overrides)
    if dry_run:
        from ct_vae.training.reporting.run_summary import plan_lines
        from ct_vae.training.trainer import plan_run

        for line in plan_lines(plan_run(settings, device)):
            show(line)
        return

    from ct_vae.training import train as run

    folder = run(
        None,
        settings,
        device=device,
        name=config.stem,
        overwrite=overwrite,
        resume=resume,
    )
    show(folder)
