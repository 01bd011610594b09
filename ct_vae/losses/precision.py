"""Precision of the losses, which is independent of the precision of the networks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def to_float32_or_higher(x: torch.Tensor) -> torch.Tensor:
    """Convert a tensor to float32; float64 tensors are left unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast_disabled(x: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context that disables autocast on the tensor's device."""
    # The meta device has no autocast.
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
