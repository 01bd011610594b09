"""Decoding with GDCM in worker processes, since damaged pixel data can crash GDCM."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import OutputError
from ct_vae.io.dicom.codecs.gdcm_worker import NO_ROOM
from ct_vae.io.temporary import make_temporary_folder

_SCRIPT = Path(__file__).with_name("gdcm_worker.py")
_MAX_PROCESSES = 4
# Decoding a slice takes a few hundredths of a second.
_TIMEOUT_SECONDS = 120.0


class GdcmError(Exception):
    """GDCM cannot decode a file, or crashed."""


class Gdcm:
    """Pool of decoder processes, each started on demand; all stop at the end of the block."""

    def __init__(self) -> None:
        # Created on first use: uncompressed slices need no temporary folder.
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(min(_MAX_PROCESSES, os.cpu_count() or 1)):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                if worker:
                    worker.stop()
        if self._temporary:
            self._temporary.cleanup()

    def decode(self, content: bytes) -> NDArray[Any]:
        """Decode one DICOM file.

        Args:
            content: The bytes of the file.

        Returns:
            The decoded values, ``(frames, rows, columns)``.

        Raises:
            GdcmError: If GDCM cannot decode the file.
            OutputError: If there is no temporary folder, or no space in it.
        """
        try:
            descriptor, name = tempfile.mkstemp(dir=self._folder(), suffix=".dcm")
            os.close(descriptor)
            Path(name).write_bytes(content)
        except OSError as error:
            raise _no_room(error.strerror or str(error)) from error
        worker = self._idle.get()
        try:
            worker = worker or _Worker()
            return worker.decode(name)
        except GdcmError:
            if worker and worker.is_dead():
                worker.stop()
                worker = None
            raise
        finally:
            self._idle.put(worker)
            Path(name).unlink(missing_ok=True)
            Path(f"{name}.raw").unlink(missing_ok=True)

    def _folder(self) -> str:
        with self._lock:
            if self._temporary is None:
                self._temporary = make_temporary_folder()
            return self._temporary.name


def _no_room(reason: str) -> OutputError:
    return OutputError(
        f"compressed slices cannot be decoded in the temporary folder: {reason}",
        "set TMPDIR to an existing folder with free space",
    )


class _Worker:
    """One decoder process."""

    def __init__(self) -> None:
        # The command has no user input; file names are sent to its standard input.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests: IO[str] = self._process.stdin
        self._answers: IO[str] = self._process.stdout

    def decode(self, name: str) -> NDArray[Any]:
        """Decode a file; stop the process if it crashes or does not answer in time."""
        alarm = threading.Timer(_TIMEOUT_SECONDS, self._process.kill)
        alarm.start()
        try:
            self._requests.write(f"{name}\n")
            self._requests.flush()
            answer = self._answers.readline().split()
        except OSError:
            answer = []
        finally:
            alarm.cancel()
        if not answer:
            self.stop()
        if answer == [NO_ROOM]:
            raise _no_room("no space left on device")
        if len(answer) < 2:
            raise GdcmError
        numbers: NDArray[Any] = np.fromfile(f"{name}.raw", np.dtype(answer[0]))
        return numbers.reshape(tuple(map(int, answer[1:])))

    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.kill()
        self._process.wait()
