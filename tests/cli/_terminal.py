"""Running a program with standard error on a terminal, a pseudo-terminal of 120 columns."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """What a program has printed.

    Attributes:
        code: Exit code.
        out: Standard output, a pipe.
        frames: What appeared on the terminal, each with the second at which it was read.
    """

    code: int
    out: str
    frames: list[tuple[float, str]]

    @property
    def terminal(self):
        """All that appeared on the terminal, without escape sequences."""
        return plain("".join(text for _, text in self.frames))


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def run_in_terminal(*args, cwd, env=None):
    """Run Python with these arguments."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    started = time.monotonic()
    frames = []
    with subprocess.Popen(
        [sys.executable, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        cwd=cwd,
        env={**os.environ, "TERM": "xterm", **(env or {})},
    ) as process:
        os.close(slave)
        while True:
            try:
                data = os.read(master, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            frames.append((time.monotonic() - started, data.decode(errors="replace")))
        out = process.stdout.read()
    os.close(master)
    return Run(process.returncode, out, frames)
