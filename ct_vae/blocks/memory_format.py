"""Memory format in which convolutions are fastest."""

from __future__ import annotations

import torch

# By number of spatial dimensions, for CPU and GPU; PyTorch has no such format in 1-D.
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def memory_format(spatial_dims: int) -> torch.memory_format:
    """Return the order in which networks and images of that many dimensions lie in memory."""
    return CHANNELS_LAST.get(spatial_dims, torch.contiguous_format)
