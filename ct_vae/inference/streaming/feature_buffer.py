"""Buffers of complete feature maps: on the device, in host memory or in a file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from ct_vae.inference.streaming.feature_file import FeatureFile, feature_folder
from ct_vae.inference.streaming.file_transfer import Event, FileTransfer, Staging, cuda_staging
from ct_vae.inference.streaming.graph import MapShape
from ct_vae.inference.streaming.group_norm import RunningMoments

BufferKind = Literal["device", "host", "disk"]
FileAccess = Callable[[int, torch.Tensor], None]
KINDS: tuple[BufferKind, ...] = ("device", "host", "disk")


class FeatureBuffer:
    """Feature map ``(C, X, Y, Z)`` that is written once in order and read in any order.

    Args:
        shape: Shape of the map.
        dtype: Data type of the map.
        store: Memory or file for the map, at least as large as the map.
        moments: If true, compute the channels' moments while writing; defaults to false.
        first: First slice that `append` writes; defaults to 0.
        staging: Host memory and events of a device that computes ahead of the host; ``None`` for a
            CPU.
    """

    def __init__(
        self,
        shape: MapShape,
        dtype: torch.dtype,
        store: torch.Tensor | FeatureFile,
        moments: bool = False,
        first: int = 0,
        staging: Staging | None = None,
    ) -> None:
        self.shape, self.dtype, self.store = shape, dtype, store
        self.moments = RunningMoments(shape[0]) if moments else None
        self._written = first
        self._staging = staging
        self._copied: Event | None = None
        self._transfer = self._new_transfer()

    def append(self, slab: torch.Tensor) -> None:
        """Write the next slices ``(1, C, n, Y, Z)``."""
        # A file has no type: values of another type would be misread.
        assert slab.dtype == self.dtype, f"a map of {self.dtype} is given slices of {slab.dtype}"
        slab = slab.contiguous(memory_format=torch.channels_last_3d)
        if self.moments is not None:
            self.moments.add(slab)
        self.write(self._written, slab)
        self._written += slab.shape[2]

    def write(self, start: int, slab: torch.Tensor) -> None:
        """Write slices ``(1, C, n, Y, Z)`` with channels last in memory, from ``start`` on."""
        if isinstance(self.store, FeatureFile):
            values = slab.permute(0, 2, 3, 4, 1).contiguous()
            if self._staging is not None and self._staging.holds(values):
                assert self._transfer is not None
                self._transfer.write(self._offset(start), values)
            else:
                self._on_host(self.store.write, start, values)
        else:
            self._wait_for_copies(slab)
            self.view(start, slab.shape[2]).copy_(slab, non_blocking=True)
            if self._staging is not None:
                self._copied = self._staging.record()

    def finish(self) -> None:
        """Wait until files are written.

        Raises:
            OSError: If a part could not be written.
        """
        if self._transfer is not None:
            self._transfer.finish()

    def read_into(self, start: int, out: torch.Tensor) -> None:
        """Fill ``(1, C, n, Y, Z)``, channels last in memory, starting at slice ``start``."""
        self._read(self._transfer, start, out)

    def reader(self) -> Callable[[int, torch.Tensor], None]:
        """Return a function like `read_into` that reads ahead; slices should follow each other."""
        return partial(self._read, self._new_transfer())

    def _read(self, transfer: FileTransfer | None, start: int, out: torch.Tensor) -> None:
        if not isinstance(self.store, FeatureFile):
            self._wait_for_copies(out)
            out.copy_(self.view(start, out.shape[2]), non_blocking=True)
            return
        values = out.permute(0, 2, 3, 4, 1)
        if self._staging is not None and self._staging.holds(out):
            assert transfer is not None
            transfer.read(self._offset(start), values)
        else:
            self._on_host(self.store.read, start, values)

    def _on_host(self, access: FileAccess, start: int, values: torch.Tensor) -> None:
        """Read or write values in host memory, after what the thread has still to write."""
        if self._staging is None:
            access(self._offset(start), values)
        else:
            self._staging.worker.submit(access, self._offset(start), values).result()

    def _wait_for_copies(self, values: torch.Tensor) -> None:
        """Wait for copies between device and host if values in host memory take part."""
        if self._copied is None or self._staging is None or self._staging.holds(values):
            return
        self._copied.synchronize()

    def _new_transfer(self) -> FileTransfer | None:
        if self._staging is None or not isinstance(self.store, FeatureFile):
            return None
        return FileTransfer(self.store, self._staging, self._offset(self.shape[1]))

    def view(self, start: int, count: int) -> torch.Tensor:
        """Return slices of a map in memory without copying."""
        assert isinstance(self.store, torch.Tensor)
        channels, _, y, z = self.shape
        first = self._offset(start)
        size = self._offset(start + count) - first
        values = self.store[first : first + size].view(self.dtype)
        return values.view(1, count, y, z, channels).permute(0, 4, 1, 2, 3)

    def _offset(self, start: int) -> int:
        channels, _, y, z = self.shape
        return start * channels * y * z * self.dtype.itemsize


def store_bytes(kind: BufferKind, size: int) -> int:
    """Return the bytes that a store takes: PyTorch rounds pinned host memory to powers of two."""
    return 1 << (size - 1).bit_length() if kind == "host" else size


class StoreSizes:
    """Sizes of the stores of a pool, by which a plan knows what the pool will hold.

    Attributes:
        total: Bytes of all stores, in use or free.
    """

    def __init__(self) -> None:
        self._free: list[int] = []
        self.total = 0

    def take(self, size: int) -> int:
        """Return the size of the smallest free store that fits, or ``size`` for a new one."""
        fitting = [free for free in self._free if free >= size]
        if fitting:
            self._free.remove(min(fitting))
            return min(fitting)
        # Free stores that are too small would only waste memory.
        self.total += size - sum(self._free)
        self._free.clear()
        return size

    def give_back(self, size: int) -> None:
        """Mark a store as free."""
        self._free.append(size)


class FeatureBufferPool:
    """Pool of memory and files for feature buffers, which are reused.

    Reuse matters because allocating fresh memory takes longer than writing to it.

    Args:
        device: Device that computes the maps.
        disk_bytes: Total size of the files, for which a folder is chosen; defaults to 0.

    Attributes:
        staging: Host memory, events and a thread for buffers outside the device; ``None`` for a
            CPU.

    Raises:
        ConfigError: If no folder on a disk has enough space.
    """

    def __init__(self, device: torch.device, disk_bytes: int = 0) -> None:
        self._device = device
        self._folder: Path | None = feature_folder(disk_bytes) if disk_bytes else None
        self._sizes = {kind: StoreSizes() for kind in KINDS}
        self._free: dict[BufferKind, list[torch.Tensor | FeatureFile]] = {k: [] for k in KINDS}
        self._files: list[FeatureFile] = []
        self._worker = ThreadPoolExecutor(max_workers=1)
        self.staging = cuda_staging(device, self._worker) if device.type == "cuda" else None

    def take(self, kind: BufferKind, size: int) -> torch.Tensor | FeatureFile:
        """Return storage for ``size`` bytes: the smallest free one that fits, or a new one.

        Raises:
            OutputError: If there is not enough disk space.
        """
        size = store_bytes(kind, size)
        chosen = self._sizes[kind].take(size)
        for store in self._free[kind]:
            if _size(store) == chosen:
                self._free[kind] = [each for each in self._free[kind] if each is not store]
                return store
        self._release(kind)
        return self._new(kind, size)

    def give_back(self, kind: BufferKind, store: torch.Tensor | FeatureFile) -> None:
        """Return storage to the pool."""
        self._sizes[kind].give_back(_size(store))
        self._free[kind].append(store)

    def close(self) -> None:
        """Release all storage, including storage in use."""
        self._worker.shutdown(cancel_futures=True)
        for store in self._files:
            store.close()
        for free in self._free.values():
            free.clear()

    def _new(self, kind: BufferKind, size: int) -> torch.Tensor | FeatureFile:
        if kind == "disk":
            assert self._folder is not None, "files are planned for"
            self._files.append(FeatureFile(size, self._folder))
            return self._files[-1]
        if kind == "host":
            return torch.empty(size, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        return torch.empty(size, dtype=torch.uint8, device=self._device)

    def _release(self, kind: BufferKind) -> None:
        for store in self._free[kind]:
            if isinstance(store, FeatureFile):
                store.close()
        self._free[kind].clear()


def _size(store: torch.Tensor | FeatureFile) -> int:
    return store.size if isinstance(store, FeatureFile) else store.numel()
