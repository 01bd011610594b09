"""Changes of latents in training: noise, nested channels and the equivariance term."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from ct_vae.training.device.philox import normal_numbers, random_integers, uniform_numbers
from ct_vae.training.seeding import generator

NoiseType = Literal["uniform", "gaussian", "posterior"]
# Random streams of a sample, apart from that of its posterior noise.
_NOISE, _CHANNELS, _TRANSFORM = 1, 2, 3
# Uniform noise of this width has a standard deviation of 1.
_WIDTH_OF_UNIT_STD = math.sqrt(12.0)
_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


@dataclass(frozen=True)
class LatentChanges:
    """Changes of the sampled latent before it is decoded in training.

    Each change is a function of the seed and of the index of the sample in the run.

    Attributes:
        noise: Width of uniform noise or standard deviation of Gaussian noise in latent units; for
            ``posterior``, standard deviation in those of the posterior.
        noise_type: Distribution of the noise; that of ``posterior`` is uniform.
        nested_channels: Numbers of channels, of which each sample draws one; the channels after it
            are set to 0. Empty means all channels.
        equivariance: True if the equivariance term is computed.
    """

    noise: float = 0.0
    noise_type: NoiseType = "uniform"
    nested_channels: tuple[int, ...] = ()
    equivariance: bool = False

    def __call__(
        self, latent: torch.Tensor, seed: int, index: int, std: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Add noise and drop channels.

        Args:
            latent: Latents ``(B, C, *spatial)`` of consecutive samples.
            seed: Seed of the run.
            index: Index of the first sample in the run.
            std: Standard deviations of the posterior; only noise of type ``posterior`` needs them.

        Returns:
            Latents of the same shape.
        """
        if self.noise > 0:
            noise = self._draw_noise(latent, seed, index).to(latent)
            if self.noise_type == "posterior":
                assert std is not None
                # One width for each channel of a sample, as the steps of quantization.
                spatial = tuple(range(2, std.ndim))
                noise = noise * std.detach().square().mean(spatial, keepdim=True).sqrt()
            latent = latent + noise
        if self.nested_channels:
            kept = self._draw_channels(latent, seed, index)
            channel = torch.arange(latent.shape[1], device=latent.device)
            mask = channel[None, :] < kept[:, None]
            latent = latent * mask.to(latent).reshape(*mask.shape, *[1] * (latent.ndim - 2))
        return latent

    def _draw_noise(self, latent: torch.Tensor, seed: int, index: int) -> torch.Tensor:
        if self.noise_type == "gaussian":
            return self.noise * normal_numbers(latent.shape, seed, index, _NOISE, latent.device)
        width = self.noise * (_WIDTH_OF_UNIT_STD if self.noise_type == "posterior" else 1.0)
        return width * (uniform_numbers(latent.shape, seed, index, _NOISE, latent.device) - 0.5)

    def _draw_channels(self, latent: torch.Tensor, seed: int, index: int) -> torch.Tensor:
        """Return the number of channels ``(B,)`` that each sample keeps."""
        choices = self.nested_channels
        drawn = random_integers(len(choices), len(latent), seed, index, _CHANNELS, latent.device)
        # A table of the choices would have to be copied to the device.
        return torch.stack([(drawn == i) * count for i, count in enumerate(choices)]).sum(0)


def transform_pair(
    latent: torch.Tensor, image: torch.Tensor, seed: int, index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply one random transform to latents and images: half the size, flips and a rotation.

    An equivariant decoder maps the transformed latent to the transformed image. See EQ-VAE
    (Kouzelis et al. 2025, arXiv 2502.09509), eq. 5, and Skorokhodov et al. 2025 (arXiv 2502.14831)
    for the scale. Half the size makes the additional decoding cheap: an eighth in 3-D.

    Args:
        latent: Latents ``(B, C, *spatial)`` of consecutive samples, at least 2 along each axis.
        image: Images ``(B, C, *spatial * factor)``.
        seed: Seed of the run.
        index: Index of the first sample in the run.

    Returns:
        The transformed latents and images. Both are rotated by 90 degrees in the plane of the first
        two axes only if these have the same size.
    """
    factor = [n // m for n, m in zip(image.shape[2:], latent.shape[2:], strict=True)]
    # Halving an odd size leaves out the last latent voxel, and its part of the image.
    even = [n // 2 * 2 for n in latent.shape[2:]]
    small = _halved(latent, even)
    target = _halved(image, [n * f for n, f in zip(even, factor, strict=True)])
    sides = small.shape[2:]
    square = len(sides) > 1 and sides[0] == sides[1] and factor[0] == factor[1]
    pairs = []
    for i in range(len(latent)):
        source = generator(seed, index + i, _TRANSFORM)
        drawn = torch.randint(2, (len(sides) + 1,), generator=source).tolist()
        flips = [1 + axis for axis, flip in enumerate(drawn[:-1]) if flip]
        turned = 1 if square and drawn[-1] else 0
        pairs.append([_moved(part[i], flips, turned) for part in (small, target)])
    latents, images = zip(*pairs, strict=True)
    return torch.stack(latents), torch.stack(images)


def _halved(x: torch.Tensor, sides: list[int]) -> torch.Tensor:
    window = tuple(slice(n) for n in sides)
    return _POOL[len(sides)](x[(slice(None), slice(None), *window)], 2)


def _moved(x: torch.Tensor, flips: list[int], turns: int) -> torch.Tensor:
    return (x.rot90(turns, (1, 2)) if turns else x).flip(flips)
