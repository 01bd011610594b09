"""Small seeded models and images."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ct_vae.models import AutoencoderKL, UntrainedWarning
from ct_vae.models.weights import weights_bytes

SMALL: dict[str, Any] = {
    "resolution": 16,
    "base_ch": 8,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "norm_groups": 2,
}


def small_model(seed: int = 0, **numbers: Any) -> AutoencoderKL:
    """A model of few weights, none of them zero, in evaluation mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        model = AutoencoderKL(**(SMALL | numbers))
    randomise(model, seed)
    return model.eval()


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Draw every weight anew, norms and biases included, so that none hides behind 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                offset = float("norm" in name and name.endswith("weight"))
                parameter.copy_(offset + 0.3 * drawn)
            else:
                parameter.copy_(drawn / parameter[0].numel() ** 0.5)


def save_weights(path: Path, state: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a weights file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights_bytes(state, metadata))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded normal values."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
