"""In which precision losses are computed, whatever the networks compute in."""

from __future__ import annotations

import torch


def wide(x: torch.Tensor) -> torch.Tensor:
    """A tensor in float32, or in float64 when that is what comes in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(x: torch.Tensor) -> torch.autocast:
    """A context in which nothing on the tensor's device is cast to half precision."""
    return torch.autocast(x.device.type, enabled=False)
