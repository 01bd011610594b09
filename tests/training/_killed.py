"""Training in a process of its own that can be killed, without waiting for its imports."""

import multiprocessing
import os
import signal
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.training._killed_imports"])


def _run(path: str, options: dict[str, bool]) -> None:
    from ct_vae.training import train

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    train(None, Path(path), **options)


def start(path: Path, **options: bool):
    """Begin to train; gives the process."""
    process = _CONTEXT.Process(target=_run, args=(str(path), options))
    process.start()
    return process


def kill(process) -> None:
    """SIGKILL, in whatever it does."""
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def finish(process) -> None:
    """Let it come to its end."""
    process.join()
    assert process.exitcode == 0
