"""Feature maps that are asked for slab by slab: each stream pulls what it needs from others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from ct_vae.inference.streaming.feature_buffer import Spool
from ct_vae.inference.streaming.graph import Shape
from ct_vae.inference.streaming.group_norm import rows_of


class Stream(ABC):
    """A map ``(C, X, Y, Z)`` of which slabs are read once, from front to back.

    Slabs have the stream's own dtype, whatever its operator computes in: under autocast a
    convolution returns bfloat16, and buffers downstream are laid out for the dtype of the plan.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device

    @abstractmethod
    def read(self, count: int) -> torch.Tensor:
        """The next slices ``(1, C, count, Y, Z)``, which the caller may overwrite."""

    def read_into(self, out: torch.Tensor) -> None:
        """Fill ``out`` with the next slices."""
        out.copy_(self.read(out.shape[2]))

    def view(self, count: int) -> torch.Tensor:
        """The next slices, which the caller must not overwrite."""
        return self.read(count)

    def empty(self, count: int) -> torch.Tensor:
        """Room for slices, channels last in memory."""
        channels, _, y, z = self.shape
        room = torch.empty(1, count, y, z, channels, dtype=self.dtype, device=self.device)
        return room.permute(0, 4, 1, 2, 3)


class FilledStream(Stream):
    """A stream that fills what it is given; subclasses say how."""

    def read(self, count: int) -> torch.Tensor:
        """Fill fresh room."""
        out = self.empty(count)
        self.read_into(out)
        return out


class GivenStream(FilledStream):
    """What comes from outside: slices of a tensor on the CPU, moved to the device one by one."""

    def __init__(self, whole: torch.Tensor, device: torch.device) -> None:
        _, channels, x, y, z = whole.shape
        super().__init__((channels, x, y, z), whole.dtype, device)
        self._whole, self._position = whole, 0

    def read_into(self, out: torch.Tensor) -> None:
        """Copy the next slices."""
        stop = self._position + out.shape[2]
        out.copy_(self._whole[:, :, self._position : stop])
        self._position = stop


class SpoolStream(FilledStream):
    """A spool from its first slice on."""

    def __init__(self, spool: Spool, device: torch.device) -> None:
        super().__init__(spool.shape, spool.dtype, device)
        self._spool, self._position = spool, 0

    def read_into(self, out: torch.Tensor) -> None:
        """Read the next slices."""
        self._spool.read_into(self._position, out)
        self._position += out.shape[2]

    def view(self, count: int) -> torch.Tensor:
        """The next slices, without a copy where the spool is at hand."""
        store = self._spool.store
        if not isinstance(store, torch.Tensor) or store.device != self.device:
            return self.read(count)
        self._position += count
        return self._spool.view(self._position - count, count)


class NormalizedStream(FilledStream):
    """A spool through a group normalization by the moments of the whole map."""

    def __init__(self, spool: Spool, norm: nn.GroupNorm, device: torch.device) -> None:
        super().__init__(spool.shape, spool.dtype, device)
        assert spool.moments is not None
        wide = torch.promote_types(spool.dtype, torch.float32)
        along = spool.shape[3]
        scale, shift = (v.to(device, wide).repeat(along) for v in spool.moments.affine(norm))
        self._spool, self._scale, self._shift, self._position = spool, scale, shift, 0

    def read_into(self, out: torch.Tensor) -> None:
        """Read the next slices and normalize them, in one pass where the spool is at hand."""
        store, rows = self._spool.store, rows_of(out)
        if isinstance(store, torch.Tensor) and store.device == out.device:
            source = rows_of(self._spool.view(self._position, out.shape[2]))
        else:
            self._spool.read_into(self._position, out)
            source = rows
        torch.addcmul(self._shift, source, self._scale, out=rows)
        self._position += out.shape[2]


class SiluStream(Stream):
    """A stream through SiLU, in place."""

    def __init__(self, source: Stream) -> None:
        super().__init__(source.shape, source.dtype, source.device)
        self._source = source

    def read(self, count: int) -> torch.Tensor:
        """Read and activate."""
        return functional.silu(self._source.read(count), inplace=True)

    def read_into(self, out: torch.Tensor) -> None:
        """Read and activate, in place."""
        self._source.read_into(out)
        functional.silu(out, inplace=True)


class SumStream(Stream):
    """The sum of two streams."""

    def __init__(self, first: Stream, second: Stream) -> None:
        super().__init__(first.shape, first.dtype, first.device)
        self._first, self._second = first, second

    def read(self, count: int) -> torch.Tensor:
        """Read both and add."""
        return self._second.read(count).add_(self._first.view(count))


class PerSliceStream(Stream):
    """An operator that maps every slice of its sources on its own.

    A source with fewer slices than the first has each of them repeated.
    """

    def __init__(
        self, sources: Sequence[Stream], run: Callable[..., torch.Tensor], shape: Shape
    ) -> None:
        super().__init__(shape, sources[0].dtype, sources[0].device)
        length = sources[0].shape[1]
        self._sources = [
            each if each.shape[1] == length else RepeatedStream(each, length // each.shape[1])
            for each in sources
        ]
        self._run = run

    def read(self, count: int) -> torch.Tensor:
        """Read all sources and run the operator."""
        return self._run(*(each.read(count) for each in self._sources)).to(self.dtype)


class RepeatedStream(Stream):
    """Every slice of a stream several times."""

    def __init__(self, source: Stream, times: int) -> None:
        channels, x, y, z = source.shape
        super().__init__((channels, x * times, y, z), source.dtype, source.device)
        self._source, self._times, self._position, self._read = source, times, 0, 0
        self._last = source.empty(0)

    def read(self, count: int) -> torch.Tensor:
        """Read what is not yet there and repeat it."""
        start, stop = self._position, self._position + count
        fresh = -(-stop // self._times) - self._read
        kept = self._last[:, :, -1:] if start % self._times else self._last[:, :, :0]
        self._last = torch.cat([kept, self._source.read(fresh)], dim=2) if fresh else kept
        self._read, self._position = self._read + fresh, stop
        ahead = start % self._times
        return self._last.repeat_interleave(self._times, dim=2)[:, :, ahead : ahead + count]
