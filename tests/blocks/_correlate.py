"""Plain references for convolutions, on SciPy and NumPy."""

import numpy as np
import torch
from scipy.ndimage import correlate
from torch import nn

# The names that SciPy and NumPy have for what lies beyond the border.
SCIPY_MODES = {
    "zeros": "constant",
    "replicate": "nearest",
    "reflect": "mirror",
    "circular": "wrap",
}
NUMPY_MODES = {"zeros": "constant", "replicate": "edge", "reflect": "reflect", "circular": "wrap"}


def correlated(
    conv: nn.Module, x: torch.Tensor, padding_mode: str = "zeros", causal_axis: int | None = None
) -> torch.Tensor:
    """What a 3-wide or 1-wide convolution of stride 1 gives, in float64."""
    weight, bias = conv.weight.detach().double().numpy(), conv.bias.detach().double().numpy()
    image = x.detach().double().numpy()
    # An origin of 1 moves the middle of three taps to the last.
    origin = [int(axis == causal_axis) for axis in range(image.ndim - 2)]

    def one(values: np.ndarray, taps: np.ndarray) -> np.ndarray:
        return correlate(values, taps, mode=SCIPY_MODES[padding_mode], origin=origin)

    result = [
        [
            bias[o] + sum(one(item[i], weight[o, i]) for i in range(len(item)))
            for o in range(len(weight))
        ]
        for item in image
    ]
    return torch.from_numpy(np.array(result))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded normal values."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
