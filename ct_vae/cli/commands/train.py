"""``ct-vae train``: train a model from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options
from ct_vae.cli.progress import with_progress
from ct_vae.terminal import show


@with_progress
def train(
    config: options.Config,
    overrides: options.Overrides = [],  # noqa: B006 - typer never changes it
    device: options.Device = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the latest checkpoint, if any.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing run in the folder.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read all data, try some steps, print the plan, and stop."),
    ] = False,
) -> None:
    """Train an autoencoder; the run folder becomes a model folder.

    On SIGTERM, SIGINT, SIGUSR1 or SIGHUP, training saves a checkpoint after the current step and
    exits with code 75; use --resume to continue.

    Example: ct-vae train quickstart --set training.samples=1000
    """
    from ct_vae.config.load import load_config

    settings = load_config(config, overrides)
    name = Path(config).stem
    if dry_run:
        from ct_vae.training.reporting.run_summary import summary_lines
        from ct_vae.training.trainer import plan_run

        plan = plan_run(settings, device, name, overwrite, resume)
        for line in summary_lines(plan):
            show(line)
        return

    from ct_vae.training import train as run

    folder = run(
        None,
        settings,
        device=device,
        name=name,
        overwrite=overwrite,
        resume=resume,
    )
    show(folder)
