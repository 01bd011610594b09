"""Entry point of ``ct-vae``: registers the commands and maps errors to exit codes."""

from __future__ import annotations

import sys

import typer

from ct_vae.cli.commands.bundle import bundle
from ct_vae.cli.commands.compare import compare
from ct_vae.cli.commands.config import app as config_app
from ct_vae.cli.commands.convert import convert
from ct_vae.cli.commands.decode import decode
from ct_vae.cli.commands.encode import encode
from ct_vae.cli.commands.evaluate import evaluate
from ct_vae.cli.commands.export import export
from ct_vae.cli.commands.info import info
from ct_vae.cli.commands.latent import app as latent_app
from ct_vae.cli.commands.models import models
from ct_vae.cli.commands.phantom import phantom
from ct_vae.cli.commands.reconstruct import reconstruct
from ct_vae.cli.commands.sample import sample
from ct_vae.cli.commands.scan import scan
from ct_vae.cli.commands.show import show as show_command
from ct_vae.cli.commands.status import status
from ct_vae.cli.commands.train import train
from ct_vae.cli.commands.verify import verify
from ct_vae.cli.help import SETTINGS, Group, register, register_group
from ct_vae.errors import CtVaeError, StoppedError
from ct_vae.terminal import flush_streams, guard_streams, say, show

_USAGE = 2
_SHOWN = 60

app = typer.Typer(
    name="ct-vae",
    cls=Group,
    rich_markup_mode="markdown",
    help="""Train volumetric autoencoders for CT, encode volumes to latents and decode them.

    Example: ct-vae encode ct-f4 scan.nii.gz -o latents
    """,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=dict(SETTINGS),
)
register(app, "Use a model", encode, decode, reconstruct, sample, models)
register(app, "Look at data and results", scan, info, show_command, verify, status, phantom)
register(app, "Measure quality", evaluate, compare)
register(app, "Train and exchange models", train, convert, bundle, export)
register_group(app, "Train and exchange models", "config", config_app)
register_group(app, "Look at data and results", "latent", latent_app)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from ct_vae.version import __version__

        show(__version__)
        raise typer.Exit()


def run() -> None:
    """Run the command line; errors that the user can fix are shown without a traceback."""
    guard_streams()
    try:
        _run_app()
    except StoppedError as stopped:
        say(stopped)
        sys.exit(stopped.exit_code)
    except CtVaeError as error:
        first, *details = error.lines()
        say(f"error: {first}")
        for line in details:
            say(line)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:
        # Names from the command line and from folders are bytes; names in files are text.
        text = error.object[max(0, error.start - _SHOWN) : error.end + _SHOWN]
        hint = "rename it"
        if error.encoding != "utf-8":
            hint = "set PYTHONUTF8=1 or a UTF-8 locale such as LC_ALL=C.UTF-8"
        where = f"{text!a} cannot be written in the encoding {error.encoding} of this environment"
        say(f"error: {where}; {hint}")
        sys.exit(_USAGE)


def _run_app() -> None:
    """Run a command and flush its output before it exits."""
    try:
        app()
    except SystemExit:
        flush_streams()
        raise
