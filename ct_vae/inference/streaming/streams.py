"""Streams of feature maps: each reads slabs from its sources on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from ct_vae.inference.streaming.feature_buffer import FeatureBuffer
from ct_vae.inference.streaming.graph import MapShape
from ct_vae.inference.streaming.group_norm import rows_of


class Stream(ABC):
    """Feature map ``(C, X, Y, Z)`` that is read once, slab by slab, in order.

    Slabs have the dtype of the stream, independent of the precision of its operator: under autocast
    a convolution returns bfloat16, while the buffers have the dtype of the plan.
    """

    def __init__(self, shape: MapShape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device

    @abstractmethod
    def read(self, count: int) -> torch.Tensor:
        """Return the next slices ``(1, C, count, Y, Z)``, which the caller may overwrite."""

    def read_into(self, out: torch.Tensor) -> None:
        """Fill ``out`` with the next slices."""
        out.copy_(self.read(out.shape[2]))

    def view(self, count: int) -> torch.Tensor:
        """Return the next slices, which the caller must not overwrite."""
        return self.read(count)

    def empty(self, count: int) -> torch.Tensor:
        """Return uninitialized slices with channels last in memory."""
        channels, _, y, z = self.shape
        values = torch.empty(1, count, y, z, channels, dtype=self.dtype, device=self.device)
        return values.permute(0, 4, 1, 2, 3)


class FilledStream(Stream):
    """Stream that fills tensors of the caller; subclasses implement `read_into`."""

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices into a new tensor."""
        out = self.empty(count)
        self.read_into(out)
        return out


class InputStream(FilledStream):
    """Slices of an input tensor, moved to the device on demand."""

    def __init__(self, whole: torch.Tensor, device: torch.device) -> None:
        _, channels, x, y, z = whole.shape
        super().__init__((channels, x, y, z), whole.dtype, device)
        self._whole, self._position = whole, 0

    def read_into(self, out: torch.Tensor) -> None:
        """Copy the next slices."""
        stop = self._position + out.shape[2]
        out.copy_(self._whole[:, :, self._position : stop])
        self._position = stop


class BufferStream(FilledStream):
    """Stream that reads a feature buffer."""

    def __init__(self, buffer: FeatureBuffer, device: torch.device) -> None:
        super().__init__(buffer.shape, buffer.dtype, device)
        self._buffer, self._position = buffer, 0

    def read_into(self, out: torch.Tensor) -> None:
        """Read the next slices."""
        self._buffer.read_into(self._position, out)
        self._position += out.shape[2]

    def view(self, count: int) -> torch.Tensor:
        """Return the next slices, without copying if the buffer is on the same device."""
        store = self._buffer.store
        if not isinstance(store, torch.Tensor) or store.device != self.device:
            return self.read(count)
        self._position += count
        return self._buffer.view(self._position - count, count)


class NormalizedStream(FilledStream):
    """Feature buffer after group normalization with the moments of the complete map."""

    def __init__(self, buffer: FeatureBuffer, norm: nn.GroupNorm, device: torch.device) -> None:
        super().__init__(buffer.shape, buffer.dtype, device)
        assert buffer.moments is not None
        wide = torch.promote_types(buffer.dtype, torch.float32)
        along = buffer.shape[3]
        scale, shift = (v.to(device, wide).repeat(along) for v in buffer.moments.affine(norm))
        self._buffer, self._scale, self._shift, self._position = buffer, scale, shift, 0

    def read_into(self, out: torch.Tensor) -> None:
        """Read and normalize the next slices, in one pass if the buffer is on the same device."""
        store, rows = self._buffer.store, rows_of(out)
        if isinstance(store, torch.Tensor) and store.device == out.device:
            source = rows_of(self._buffer.view(self._position, out.shape[2]))
        else:
            self._buffer.read_into(self._position, out)
            source = rows
        torch.addcmul(self._shift, source, self._scale, out=rows)
        self._position += out.shape[2]


class SiluStream(Stream):
    """SiLU of a stream, computed in place."""

    def __init__(self, source: Stream) -> None:
        super().__init__(source.shape, source.dtype, source.device)
        self._source = source

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices and apply SiLU."""
        return functional.silu(self._source.read(count), inplace=True)

    def read_into(self, out: torch.Tensor) -> None:
        """Read the next slices and apply SiLU in place."""
        self._source.read_into(out)
        functional.silu(out, inplace=True)


class SumStream(Stream):
    """Sum of two streams."""

    def __init__(self, first: Stream, second: Stream) -> None:
        super().__init__(first.shape, first.dtype, first.device)
        self._first, self._second = first, second

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices of both streams and add them."""
        return self._second.read(count).add_(self._first.view(count))


class PerSliceStream(Stream):
    """Operator that processes every slice of its sources independently.

    Each slice of a source with fewer slices than the first source is repeated.
    """

    def __init__(
        self, sources: Sequence[Stream], run: Callable[..., torch.Tensor], shape: MapShape
    ) -> None:
        super().__init__(shape, sources[0].dtype, sources[0].device)
        length = sources[0].shape[1]
        self._sources = [
            each if each.shape[1] == length else RepeatedStream(each, length // each.shape[1])
            for each in sources
        ]
        self._run = run

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices of all sources and apply the operator."""
        return self._run(*(each.read(count) for each in self._sources)).to(self.dtype)


class RepeatedStream(Stream):
    """Stream that repeats every slice of its source."""

    def __init__(self, source: Stream, times: int) -> None:
        channels, x, y, z = source.shape
        super().__init__((channels, x * times, y, z), source.dtype, source.device)
        self._source, self._times, self._position, self._read = source, times, 0, 0
        self._last = source.empty(0)

    def read(self, count: int) -> torch.Tensor:
        """Return the next slices, reading the source as needed."""
        start, stop = self._position, self._position + count
        fresh = -(-stop // self._times) - self._read
        kept = self._last[:, :, -1:] if start % self._times else self._last[:, :, :0]
        self._last = torch.cat([kept, self._source.read(fresh)], dim=2) if fresh else kept
        self._read, self._position = self._read + fresh, stop
        ahead = start % self._times
        return self._last.repeat_interleave(self._times, dim=2)[:, :, ahead : ahead + count]
