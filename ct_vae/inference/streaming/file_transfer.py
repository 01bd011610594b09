"""Transfers between a device and files, which go on while the device computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from ct_vae.inference.streaming.feature_file import FeatureFile

# Bytes that are moved at once. Pinned memory is allocated in powers of two.
PIECE = 64 * 2**20
# Host memory of the transfers that go on at the same time: one writes and up to three read.
STAGED_BYTES = 8 * PIECE


class Event(Protocol):
    """Point in the work of a device."""

    def synchronize(self) -> None:
        """Wait until the device has reached it."""


@dataclass(frozen=True)
class Staging:
    """Host memory that a device copies from and to without waiting.

    Attributes:
        device: The device.
        allocate: Function that returns a tensor of a number of bytes.
        record: Function that returns an event after all copies so far.
        worker: Executor of one thread, which accesses the files in the order of the requests.
    """

    device: torch.device
    allocate: Callable[[int], torch.Tensor]
    record: Callable[[], Event]
    worker: Executor

    def holds(self, values: torch.Tensor) -> bool:
        """Return true if a tensor is on the device."""
        return values.device.type == self.device.type


def cuda_staging(device: torch.device, worker: Executor) -> Staging:
    """Return pinned memory and the events of the stream that computes."""
    return Staging(
        device,
        lambda size: torch.empty(size, dtype=torch.uint8, pin_memory=True),
        lambda: torch.cuda.current_stream(device).record_event(),
        worker,
    )


class FileTransfer:
    """Reads or writes slabs of one file in pieces, for which two parts of host memory take turns.

    Writing returns once the copy from the device is queued; a thread writes the file. While a
    piece that was read is in use, the thread reads the one that follows. No part of the host memory
    is used again before the copy and the file access that use it have ended.

    Args:
        file: File.
        staging: Host memory, events and thread.
        end: Size of the map in the file, beyond which nothing is read.
        piece: Bytes that are moved at once.
    """

    def __init__(self, file: FeatureFile, staging: Staging, end: int, piece: int = PIECE) -> None:
        self._file, self._staging, self._end, self._piece = file, staging, end, piece
        self._slots = (_Slot(), _Slot())
        self._turn = 0
        self._ahead: _Loaded | None = None

    def write(self, offset: int, values: torch.Tensor) -> None:
        """Write a contiguous tensor of the device at an offset."""
        self._ahead = None
        for part in self._pieces(values):
            size = part.numel()
            slot = self._free_slot(size)
            staged = slot.memory[:size]
            staged.copy_(part, non_blocking=True)
            slot.copied = self._staging.record()
            slot.access = self._staging.worker.submit(self._store, slot.copied, offset, staged)
            offset += size

    def read(self, offset: int, out: torch.Tensor) -> None:
        """Fill a contiguous tensor of the device with the values at an offset."""
        parts = self._pieces(out)
        following = [part.numel() for part in parts[1:]] + [parts[0].numel()]
        for part, after in zip(parts, following, strict=True):
            size = part.numel()
            if self._ahead is None or self._ahead[:2] != (offset, size):
                self._ahead = self._load(offset, size)
            slot = self._ahead.slot
            slot.finish()
            part.copy_(slot.memory[:size], non_blocking=True)
            slot.copied = self._staging.record()
            offset += size
            more = min(after, self._end - offset)
            self._ahead = self._load(offset, more) if more > 0 else None

    def finish(self) -> None:
        """Wait until everything is written, and release the host memory.

        Raises:
            OSError: If a piece could not be written.
        """
        for slot in self._slots:
            slot.finish()
        self._slots = (_Slot(), _Slot())

    def _pieces(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.split(values.view(-1).view(torch.uint8), self._piece)

    def _free_slot(self, size: int) -> _Slot:
        """Return the part of the memory that was not used last, with room for a piece."""
        slot = self._slots[self._turn]
        self._turn = 1 - self._turn
        slot.finish()
        if slot.memory.numel() < size:
            if slot.copied is not None:
                slot.copied.synchronize()
            slot.memory = self._staging.allocate(size)
        return slot

    def _load(self, offset: int, size: int) -> _Loaded:
        slot = self._free_slot(size)
        into = slot.memory[:size]
        slot.access = self._staging.worker.submit(self._fetch, slot.copied, offset, into)
        return _Loaded(offset, size, slot)

    def _store(self, copied: Event, offset: int, staged: torch.Tensor) -> None:
        copied.synchronize()
        self._file.write(offset, staged)

    def _fetch(self, copied: Event | None, offset: int, into: torch.Tensor) -> None:
        if copied is not None:
            copied.synchronize()
        self._file.read(offset, into)


class _Slot:
    """Part of the host memory.

    Attributes:
        memory: Bytes.
        copied: Event after the last copy between this memory and the device.
        access: Last access to the file from or to this memory, by the thread.
    """

    def __init__(self) -> None:
        self.memory = torch.empty(0, dtype=torch.uint8)
        self.copied: Event | None = None
        self.access: Future[None] | None = None

    def finish(self) -> None:
        """Wait for the access to the file; raise its error, if there was one."""
        access, self.access = self.access, None
        if access is not None:
            access.result()


class _Loaded(NamedTuple):
    """Piece of a file that is in memory or on its way."""

    offset: int
    size: int
    slot: _Slot
