"""Copies from the host to a device for which the host does not wait."""

from __future__ import annotations

import torch


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor of the host to a device; a GPU copies it when its earlier work is done.

    Copies from ordinary memory make the host wait for that work, copies from pinned memory do not.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
