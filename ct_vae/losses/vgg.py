"""Convolutional part of VGG-16, the feature network of the perceptual distance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ct_vae.config.loss import SHORTEST_SLICE
from ct_vae.convert_weights.foreign_files import read_foreign
from ct_vae.errors import ConfigError, InputError, WeightsError
from ct_vae.models.weights import load_into

# Channels of the convolutions of each stage (Simonyan and Zisserman 2015, table 1, column D).
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Mean and standard deviation of ImageNet colors in [0, 1], which the weights were trained with.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
KEY = "training.perceptual_weights_path"


class VGG16(nn.Module):
    """Frozen VGG-16 that returns the features after the last activation of each stage.

    Parameter names are those of torchvision: ``features.N.weight``, where N counts activations and
    poolings.

    Attributes:
        lin: LPIPS weights of each stage's channels; 1 by default.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._taps: list[int] = []
        before = 3
        for widths in _STAGES:
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self._taps.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2))
        # The output of the last pooling is not used.
        self.features = nn.Sequential(*layers[:-1])
        self.lin = nn.ParameterList([torch.ones(widths[-1]) for widths in _STAGES])
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the features of color images ``(N, 3, H, W)`` in [0, 1], one map per stage.

        Raises:
            InputError: If a side is shorter than 16.
        """
        # There are four poolings before the last stage.
        if min(x.shape[2:]) < SHORTEST_SLICE:
            raise InputError(
                f"the perceptual network needs slices of at least {SHORTEST_SLICE} x "
                f"{SHORTEST_SLICE} voxels, got {tuple(x.shape[2:])}",
                "train on larger patches, or set training.perceptual_weight to 0",
            )
        h = (x - self.mean) / self.std
        features = []
        for i, layer in enumerate(self.features):
            h = layer(h)
            if i in self._taps:
                features.append(h)
        return features


def load_vgg16(path: str | Path) -> VGG16:
    """Load the network with weights from a local file.

    Args:
        path: ``.safetensors`` file or PyTorch state dict with the names of torchvision's VGG-16;
            its classifier is ignored. If the file also contains ``lin0.model.1.weight`` to
            ``lin4``, the names of LPIPS, features are weighted by them.

    Raises:
        ConfigError: If the file does not exist or contains other weights.
    """
    if not Path(path).is_file():
        raise ConfigError(
            f"{KEY}: {path}: no such file",
            "nothing is downloaded: put the weights of torchvision's vgg16 there, or set "
            "training.perceptual_weight to 0",
        )
    network = VGG16()
    try:
        state, _ = read_foreign(path)
        load_into(network, _renamed(state, network), f"{path}: the weights")
    except WeightsError as error:
        hint = error.hint or "give weights of torchvision's vgg16"
        raise ConfigError(f"{KEY}: {error.cause}", hint) from None
    return network


def _renamed(state: Mapping[str, torch.Tensor], network: VGG16) -> dict[str, torch.Tensor]:
    """Select the tensors of the network and rename them to the network's names."""
    named = {name: value for name, value in state.items() if name.startswith("features.")}
    given = [f"lin{i}.model.1.weight" for i in range(len(_STAGES))]
    if any(name in state for name in given):
        lin = {f"lin.{i}": state[name].flatten() for i, name in enumerate(given) if name in state}
    else:
        lin = {f"lin.{i}": value for i, value in enumerate(network.lin)}
    return named | lin
