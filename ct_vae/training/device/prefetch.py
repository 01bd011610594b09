"""Copies of batches to a GPU while it computes the step before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self, TypeVar

import torch


class Movable(Protocol):
    """Tensor, or a batch of several."""

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Self:
        """Return a copy on the device."""

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until a stream has used it."""


Batch = TypeVar("Batch", bound=Movable)


def prefetched(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on a device.

    On a GPU they are copied on a stream of their own: while the GPU computes a step, the next batch
    is copied. Batches should be in pinned memory, since the host would wait for other copies.

    Args:
        batches: Batches in memory of the host; the next one is requested after the step of the one
            before has been started.
        device: Device of the batches that are yielded.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = batch.to(device, non_blocking=True)
        copied = copies.record_event()
        steps = torch.cuda.current_stream(device)
        steps.wait_event(copied)
        # Its memory belongs to the stream of the copies, which would use it again too early.
        moved.record_stream(steps)
        yield moved
