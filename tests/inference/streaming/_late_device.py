"""Stand-in for a device that copies as late as possible, in the order of the requests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from ct_vae.inference.streaming.file_transfer import Staging

CPU = torch.device("cpu")
_COPY = torch.Tensor.copy_


class LateDevice:
    """Copies that are not to be waited for are done when an event after them is waited for."""

    def __init__(self):
        self._copies, self._done, self._lock = [], 0, threading.RLock()

    def copy_(self, target, source, non_blocking=False):
        if not non_blocking:
            return _COPY(target, source)
        with self._lock:
            self._copies.append((target, source))
        return target

    def record(self):
        return _Event(self, len(self._copies))

    def run(self, until=None):
        with self._lock:
            until = len(self._copies) if until is None else until
            for target, source in self._copies[self._done : until]:
                _COPY(target, source)
            self._done = max(self._done, until)


class _Event:
    def __init__(self, device, position):
        self._device, self._position = device, position

    def synchronize(self):
        self._device.run(self._position)


class _Now:
    """Event that only the thread of the files may wait for."""

    def synchronize(self):
        assert threading.current_thread() is not threading.main_thread()


@contextmanager
def late_staging(monkeypatch):
    """The device and its staging, within the context."""
    device = LateDevice()
    with ThreadPoolExecutor(1) as worker, monkeypatch.context() as patch:
        patch.setattr(
            torch.Tensor, "copy_", lambda t, s, non_blocking=False: device.copy_(t, s, non_blocking)
        )
        yield device, Staging(CPU, allocate, device.record, worker)


def prompt_staging(worker):
    """Staging of a device that copies at once."""
    return Staging(CPU, allocate, _Now, worker)


def allocate(size):
    # What is read before it was filled is recognized.
    return torch.full((size,), 0xEE, dtype=torch.uint8)
