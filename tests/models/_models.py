"""Small models that the tests of this folder share."""

import warnings

import torch

from ct_vae.models import AutoencoderKL, UntrainedWarning

SMALL = {"base_ch": 8, "ch_mult": (1, 2, 4), "num_res_blocks": 1, "norm_groups": 4}


def make(seed=0, **numbers):
    """A model with seeded random weights, in evaluation mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        torch.manual_seed(seed)
        return AutoencoderKL(**{**SMALL, **numbers}).eval()


def image(dims=3, channels=1, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(1, channels, *[side + 4 * i for i in range(dims)], generator=generator) * 2 - 1
    )
