"""Whole feature maps that wait to be read again: on the device, in host memory or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from ct_vae.inference.streaming.feature_file import SpoolFile, spool_folder
from ct_vae.inference.streaming.graph import Shape
from ct_vae.inference.streaming.group_norm import RunningMoments

SpoolKind = Literal["device", "host", "disk"]


class Spool:
    """A map ``(C, X, Y, Z)``, written once from front to back and read in any order.

    Args:
        shape: Of the map.
        dtype: Of its values.
        store: Where the bytes lie, at least as many as the map has: a tensor of them or a file.
        moments: Whether they are gathered while it is written.
    """

    def __init__(
        self,
        shape: Shape,
        dtype: torch.dtype,
        store: torch.Tensor | SpoolFile,
        moments: bool = False,
    ) -> None:
        self.shape, self.dtype, self.store = shape, dtype, store
        self.moments = RunningMoments(shape[0]) if moments else None
        self._written = 0
        self._staging: torch.Tensor | None = None

    def append(self, slab: torch.Tensor) -> None:
        """Write the next slices ``(1, C, n, Y, Z)``."""
        # A file would take the bytes of another type for as many other numbers.
        assert slab.dtype == self.dtype, f"a map of {self.dtype} is given slices of {slab.dtype}"
        slab = slab.contiguous(memory_format=torch.channels_last_3d)
        if self.moments is not None:
            self.moments.add(slab)
        count = slab.shape[2]
        if isinstance(self.store, SpoolFile):
            values = slab.permute(0, 2, 3, 4, 1).contiguous()
            self.store.write(self._offset(self._written), values.cpu())
        else:
            self.view(self._written, count).copy_(slab)
        self._written += count

    def read_into(self, start: int, out: torch.Tensor) -> None:
        """Fill ``(1, C, n, Y, Z)``, channels last in memory, from slice ``start`` on."""
        if not isinstance(self.store, SpoolFile):
            out.copy_(self.view(start, out.shape[2]), non_blocking=True)
            return
        values = out.permute(0, 2, 3, 4, 1)
        if out.device.type == "cpu":
            self.store.read(self._offset(start), values)
            return
        staged = self._staged(values)
        self.store.read(self._offset(start), staged)
        values.copy_(staged)

    def view(self, start: int, count: int) -> torch.Tensor:
        """Slices of a map in memory, without a copy."""
        assert isinstance(self.store, torch.Tensor)
        channels, _, y, z = self.shape
        first = self._offset(start)
        size = self._offset(start + count) - first
        values = self.store[first : first + size].view(self.dtype)
        return values.view(1, count, y, z, channels).permute(0, 4, 1, 2, 3)

    def _staged(self, values: torch.Tensor) -> torch.Tensor:
        if self._staging is None or self._staging.shape != values.shape:
            self._staging = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        return self._staging

    def _offset(self, start: int) -> int:
        channels, _, y, z = self.shape
        return start * channels * y * z * self.dtype.itemsize


class SpoolStores:
    """Room for spools, used again and again: fresh memory costs more than what is written to it.

    Args:
        device: Where maps are computed.
        disk_bytes: How much the files together may take, by which their folder is chosen.

    Raises:
        ConfigError: If no folder on a disk has that room.
    """

    def __init__(self, device: torch.device, disk_bytes: int = 0) -> None:
        self._device = device
        self._folder: Path | None = spool_folder(disk_bytes) if disk_bytes else None
        self._free: dict[SpoolKind, list[torch.Tensor | SpoolFile]] = {
            "device": [],
            "host": [],
            "disk": [],
        }
        self._files: list[SpoolFile] = []

    def take(self, kind: SpoolKind, size: int) -> torch.Tensor | SpoolFile:
        """Room for ``size`` bytes: the smallest that is free and large enough, or new room.

        Raises:
            OutputError: If the disk does not hold it.
        """
        fitting = [store for store in self._free[kind] if _size(store) >= size]
        if fitting:
            chosen = min(fitting, key=_size)
            self._free[kind] = [store for store in self._free[kind] if store is not chosen]
            return chosen
        # What is free and too small would only add to what is held.
        self._release(kind)
        return self._new(kind, size)

    def give_back(self, kind: SpoolKind, store: torch.Tensor | SpoolFile) -> None:
        """Let the next spool have this room."""
        self._free[kind].append(store)

    def close(self) -> None:
        """Release everything, whoever still has it."""
        for store in self._files:
            store.close()
        for free in self._free.values():
            free.clear()

    def _new(self, kind: SpoolKind, size: int) -> torch.Tensor | SpoolFile:
        if kind == "disk":
            assert self._folder is not None, "files are planned for"
            self._files.append(SpoolFile(size, self._folder))
            return self._files[-1]
        if kind == "host":
            return torch.empty(size, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        return torch.empty(size, dtype=torch.uint8, device=self._device)

    def _release(self, kind: SpoolKind) -> None:
        for store in self._free[kind]:
            if isinstance(store, SpoolFile):
                store.close()
        self._free[kind].clear()


def _size(store: torch.Tensor | SpoolFile) -> int:
    return store.size if isinstance(store, SpoolFile) else store.numel()
