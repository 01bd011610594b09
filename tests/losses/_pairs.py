"""Seeded reconstructions and targets, and a discriminator of few weights."""

from typing import Any

import torch

from ct_vae.models.discriminator import PatchDiscriminator
from tests.models._small import randomise


def pair(*sides: int, batch: int = 2, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Two images ``(2, batch, channels, *sides)`` in [0, 1]; by default of 3 x 4 x 5 voxels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, batch, channels, *(sides or (3, 4, 5)), generator=generator)


def small_discriminator(seed: int = 0, **numbers: Any) -> PatchDiscriminator:
    """Two halvings, none of its weights zero."""
    discriminator = PatchDiscriminator(**({"base_ch": 4, "levels": 2} | numbers))
    randomise(discriminator, seed)
    return discriminator


def slope_agrees(function: Any, image: torch.Tensor) -> bool:
    """Whether the gradient with respect to an image is that of finite differences in float64."""
    double = image.double().requires_grad_()
    return torch.autograd.gradcheck(function, (double,))
