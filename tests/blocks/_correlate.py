"""A plain reference for convolutions, on SciPy."""

import numpy as np
import torch
from scipy.ndimage import correlate
from torch import nn


def correlated(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a 3-wide or 1-wide convolution of stride 1 with zeros around gives, in float64."""
    weight, bias = conv.weight.detach().double().numpy(), conv.bias.detach().double().numpy()
    image = x.detach().double().numpy()
    result = [
        [
            bias[o]
            + sum(correlate(item[i], weight[o, i], mode="constant") for i in range(len(item)))
            for o in range(len(weight))
        ]
        for item in image
    ]
    return torch.from_numpy(np.array(result))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded normal values."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
