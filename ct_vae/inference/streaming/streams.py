"""Streams of feature maps: each reads slabs from its sources on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch

from ct_vae.inference.streaming.feature_buffer import FeatureBuffer
from ct_vae.inference.streaming.graph import MapShape

# Values that element-wise functions process at once on a CPU, so that the next one finds them in
# its cache.
_CACHED_VALUES = 2**17
# Function of slices (1, C, n, Z) that may work in place; it must not depend on other voxels.
VoxelFunction = Callable[[torch.Tensor], torch.Tensor]


class Stream(ABC):
    """Feature map ``(C, X, Y, Z)`` that is read once, slab by slab, in order.

    Slabs have the dtype of the stream, independent of the precision of its operator: under autocast
    a convolution returns bfloat16, while the buffers have the dtype of the plan.

    Args:
        shape: Shape of the map.
        dtype: Data type of the map.
        device: Device of the slabs.
        slab: Largest number of slices that are computed at once; the default is all of them.
    """

    def __init__(
        self, shape: MapShape, dtype: torch.dtype, device: torch.device, slab: int | None = None
    ) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.slab = shape[1] if slab is None else slab

    @abstractmethod
    def read(self, count: int) -> torch.Tensor:
        """Return the next slices ``(1, C, count, Y, Z)``, which the caller may overwrite."""

    def read_into(self, out: torch.Tensor) -> None:
        """Fill ``out`` with the next slices, at most a slab at a time."""
        for part in torch.split(out, self.slab, dim=2):
            part.copy_(self.read(part.shape[2]))

    def view(self, count: int) -> torch.Tensor:
        """Return the next slices, valid until the next read, which the caller must not change."""
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
    """Slices ``start`` to ``stop`` of an input tensor, moved to the device on demand."""

    def __init__(self, whole: torch.Tensor, device: torch.device, start: int, stop: int) -> None:
        _, channels, _, y, z = whole.shape
        super().__init__((channels, stop - start, y, z), whole.dtype, device)
        self._whole, self._position = whole, start

    def read_into(self, out: torch.Tensor) -> None:
        """Copy the next slices."""
        stop = self._position + out.shape[2]
        out.copy_(self._whole[:, :, self._position : stop])
        self._position = stop

    def view(self, count: int) -> torch.Tensor:
        """Return the next slices, without copying if the input is on the same device."""
        if self._whole.device != self.device:
            return self.read(count)
        self._position += count
        return self._whole[:, :, self._position - count : self._position]


class BufferStream(FilledStream):
    """Stream that reads slices ``start`` to ``stop`` of a feature buffer."""

    def __init__(self, buffer: FeatureBuffer, device: torch.device, start: int, stop: int) -> None:
        channels, _, y, z = buffer.shape
        super().__init__((channels, stop - start, y, z), buffer.dtype, device)
        self._buffer, self._position, self._read = buffer, start, buffer.reader()

    def read_into(self, out: torch.Tensor) -> None:
        """Read the next slices."""
        self._read(self._position, out)
        self._position += out.shape[2]

    def view(self, count: int) -> torch.Tensor:
        """Return the next slices, without copying if the buffer is on the same device."""
        store = self._buffer.store
        if not isinstance(store, torch.Tensor) or store.device != self.device:
            return self.read(count)
        self._position += count
        return self._buffer.view(self._position - count, count)


class VoxelStream(Stream):
    """Functions of single voxels, applied in place to the slabs of a source.

    Consecutive functions are applied together, to a part of a slab that fits into a CPU's cache.
    """

    def __init__(self, source: Stream, function: VoxelFunction) -> None:
        super().__init__(source.shape, source.dtype, source.device, source.slab)
        merges = isinstance(source, VoxelStream)
        self._source: Stream = source._source if isinstance(source, VoxelStream) else source
        self._functions = (*(source._functions if merges else ()), function)  # type: ignore[attr-defined]

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices and apply the functions."""
        return self._apply(self._source.read(count))

    def read_into(self, out: torch.Tensor) -> None:
        """Read the next slices and apply the functions."""
        self._source.read_into(out)
        self._apply(out)

    def _apply(self, slab: torch.Tensor) -> torch.Tensor:
        for part in torch.split(lines_of(slab), self._lines(slab), dim=2):
            result = part
            for function in self._functions:
                result = function(result)
            if result is not part:
                part.copy_(result)
        return slab

    def _lines(self, slab: torch.Tensor) -> int:
        """Return the number of lines (1, C, 1, Z) that are processed at once."""
        _, channels, n, y, z = slab.shape
        return max(1, _CACHED_VALUES // (channels * z)) if slab.device.type == "cpu" else n * y


class SumStream(Stream):
    """Sum of two streams."""

    def __init__(self, first: Stream, second: Stream, slab: int) -> None:
        super().__init__(first.shape, first.dtype, first.device, slab)
        self._first, self._second = first, second

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices of both streams and add them."""
        return self._second.read(count).add_(self._first.view(count))

    def read_into(self, out: torch.Tensor) -> None:
        """Add the next slices of both streams into ``out``, at most a slab at a time."""
        for part in torch.split(out, self.slab, dim=2):
            second = self._second.read(part.shape[2])
            torch.add(self._first.view(part.shape[2]), second, out=part)


class PerSliceStream(Stream):
    """Operator that processes every slice of its sources independently."""

    def __init__(
        self,
        sources: Sequence[Stream],
        run: Callable[..., torch.Tensor],
        shape: MapShape,
        slab: int | None = None,
    ) -> None:
        super().__init__(shape, sources[0].dtype, sources[0].device, slab)
        self._sources, self._run = sources, run

    def read(self, count: int) -> torch.Tensor:
        """Read the next slices of all sources and apply the operator."""
        if len(self._sources) > 1:
            # Reading another source may invalidate a view.
            return self._run(*(each.read(count) for each in self._sources)).to(self.dtype)
        slab = self._sources[0].view(count)
        result = self._run(slab).to(self.dtype)
        shared = result.untyped_storage()._cdata == slab.untyped_storage()._cdata
        return result.clone() if shared else result


class RepeatedStream(Stream):
    """Stream that repeats every slice of its source.

    Args:
        source: Stream to read.
        times: Repetitions of each slice.
        skip: Repetitions of the first slice that are left out.
    """

    def __init__(self, source: Stream, times: int, skip: int = 0) -> None:
        channels, x, y, z = source.shape
        super().__init__((channels, x * times - skip, y, z), source.dtype, source.device)
        self._source, self._times, self._position, self._read = source, times, skip, 0
        self._last = source.empty(0)

    def read(self, count: int) -> torch.Tensor:
        """Return the next slices, reading the source as needed."""
        start, stop = self._position, self._position + count
        fresh = -(-stop // self._times) - self._read
        kept = self._last[:, :, -1:] if start % self._times and self._read else None
        parts = [kept] if kept is not None else []
        if fresh:
            parts.append(self._source.read(fresh))
        self._last = torch.cat(parts, dim=2)
        self._read, self._position = self._read + fresh, stop
        ahead = start % self._times
        return self._last.repeat_interleave(self._times, dim=2)[:, :, ahead : ahead + count]


def lines_of(slab: torch.Tensor) -> torch.Tensor:
    """View ``(1, C, n, Y, Z)`` with channels last as ``(1, C, n * Y, Z)``."""
    _, channels, n, y, z = slab.shape
    lines = slab.permute(0, 2, 3, 4, 1).view(1, n * y, z, channels)
    return lines.permute(0, 3, 1, 2)
