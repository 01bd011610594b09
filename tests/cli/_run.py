"""Running the command line as a user does, in a process of its own or in this one."""

import subprocess
import sys

from typer.testing import CliRunner

from ct_vae.cli.main import app
from ct_vae.errors import CtVaeError


def process(*args, cwd=None, env=None):
    """The real program; slower, for what only a process shows."""
    return subprocess.run(
        [sys.executable, "-m", "ct_vae", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        check=False,
        timeout=300,
    )


def call(*args):
    """Exit code and output of a command in this process, errors mapped as the program does."""
    result = CliRunner().invoke(app, [str(a) for a in args])
    if isinstance(result.exception, CtVaeError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
