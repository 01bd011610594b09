"""Processes of their own that need not wait for their imports: a server forks them when asked."""

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests._forked_imports"])
_PATIENCE_S = 300


def _train(path: str, pictured: bool, cpu_s: float, options: dict[str, bool]) -> None:
    from ct_vae.training import train
    from ct_vae.training.checkpoints import save_model

    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    _tell(os.devnull, os.devnull)
    if not pictured:
        save_model.draw_pictures = lambda *_: []
    train(None, Path(path), **options)


def _program(
    script: str | None, words: list[str], environment: dict[str, str], told: tuple[str, str]
) -> None:
    from ct_vae.cli.main import run

    _tell(*told)
    os.environ.update(environment)
    sys.argv = [script or "ct-vae", *words]
    if script is None:
        run()
    else:
        runpy.run_path(script, run_name="__main__")


def _tell(*names: str) -> None:
    for descriptor, name in enumerate(names, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND), descriptor)


def begin(target, *arguments):
    """Call a function of a module in a process; gives the process."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def finish(process) -> None:
    """Let it come to its end."""
    process.join(_PATIENCE_S)
    if process.is_alive():
        process.kill()
    process.join()
    assert process.exitcode == 0


def begin_training(path: Path, pictured: bool = True, cpu_s: float = 0.0, **options: bool):
    """Train as a configuration says; gives the process.

    Args:
        path: Of the configuration.
        pictured: Whether pictures are drawn.
        cpu_s: Computing time after which SIGPROF ends it, at once and unheard as SIGKILL does, but
            as far on in its work on a busy machine as on an idle one; 0 means never.
        options: Of `train`.
    """
    return begin(_train, str(path), pictured, cpu_s, options)


class Program:
    """``ct-vae`` with these words, at work in the folder of the test.

    Args:
        words: What follows.
        script: A program in Python to run instead.
        environment: Variables beside those of the tests.
    """

    def __init__(self, *words, script=None, **environment):
        self._told = [tempfile.NamedTemporaryFile(mode="r") for _ in range(2)]  # noqa: SIM115
        names = tuple(file.name for file in self._told)
        self._process = begin(_program, script, [str(word) for word in words], environment, names)

    @property
    def stderr(self):
        """What it has told so far."""
        return Path(self._told[1].name).read_text()

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def finish(self):
        """Exit code and output, as `subprocess.run` gives them."""
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            raise TimeoutError(self.stderr)
        out, err = (Path(file.name).read_text() for file in self._told)
        for file in self._told:
            file.close()
        return SimpleNamespace(returncode=self._process.exitcode, stdout=out, stderr=err)


def process(*words, **options):
    """Run a `Program` to its end."""
    return Program(*words, **options).finish()
