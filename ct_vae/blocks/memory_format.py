"""How maps lie in memory where convolutions are fastest."""

from __future__ import annotations

import torch

# By number of axes, on a CPU too; there is none for one axis.
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
