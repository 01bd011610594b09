"""Perceptual distance of slices: LPIPS with the features of VGG-16."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ct_vae.blocks.host_copy import to_device
from ct_vae.errors import ConfigError, InputError
from ct_vae.losses.precision import autocast_disabled, to_float32_or_higher
from ct_vae.losses.vgg import VGG16

# Damps features with a norm below about 0.1, such as those of air: their direction is noise and
# its gradient is unbounded.
_EPS = 1e-2
_COLORS = 3


class PerceptualDistance:
    """LPIPS on a random fraction of the slices along each axis (Zhang et al. 2018, eq. 1).

    Features are divided by their norm over channels at each position. Squared differences are
    weighted per channel, summed over channels, averaged over positions and slices, summed over
    stages, and averaged over axes.

    Args:
        network: Frozen feature network.
        model_range: Model units that are mapped to black and white.
        fraction: Fraction of the slices along each axis, above 0 and at most 1; at least one slice
            is used.

    Raises:
        ConfigError: If the fraction is out of range.
    """

    def __init__(self, network: VGG16, model_range: tuple[float, float], fraction: float) -> None:
        if not 0 < fraction <= 1:
            raise ConfigError(
                f"perceptual_share is a fraction above 0 and at most 1, got {fraction}"
            )
        self._network = network
        self._low, self._span = model_range[0], model_range[1] - model_range[0]
        self._fraction = fraction

    def __call__(
        self, image: torch.Tensor, target: torch.Tensor, samples_seen: int
    ) -> torch.Tensor:
        """Compute the distance of two images ``(B, C, *spatial)`` in model units.

        Args:
            image: Image in 2-D or 3-D; three channels are treated as colors, any other number as
                separate gray images.
            target: Image of the same shape.
            samples_seen: Samples seen before this step; seeds the choice of slices.

        Returns:
            Distance, a scalar.

        Raises:
            InputError: If slices are too small, or if the image is not 2-D or 3-D.
        """
        if image.ndim not in (4, 5):
            raise InputError(
                f"a perceptual distance needs 2-D or 3-D images, got {tuple(image.shape)}"
            )
        with autocast_disabled(image):
            a, b = ((to_float32_or_higher(x) - self._low) / self._span for x in (image, target))
            pairs = zip(self._slices(a, samples_seen), self._slices(b, samples_seen), strict=True)
            return torch.stack([self._distance(*pair) for pair in pairs]).mean()

    def _slices(self, shades: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
        """Yield color images ``(N, 3, H, W)`` along each axis of ``(B, C, *spatial)``."""
        if shades.shape[1] != _COLORS:
            shades = shades.flatten(0, 1).unsqueeze(1)
        if shades.ndim == 4:
            yield _colored(shades)
            return
        generator = torch.Generator().manual_seed(seed)
        for axis in range(2, 5):
            count = shades.shape[axis]
            selected = max(1, round(self._fraction * count))
            indices = to_device(
                torch.randperm(count, generator=generator)[:selected], shades.device
            )
            yield _colored(shades.index_select(axis, indices).movedim(axis, 1).flatten(0, 1))

    def _distance(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            expected = self._network(target)
        stages = [
            torch.einsum("nchw,c->nhw", (_unit(a) - _unit(b)).square(), weights).mean()
            for a, b, weights in zip(self._network(image), expected, self._network.lin, strict=True)
        ]
        return torch.stack(stages).sum()


def _colored(slices: torch.Tensor) -> torch.Tensor:
    return slices.expand(-1, _COLORS, -1, -1)


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Divide features ``(N, C, H, W)`` by their norm at each position."""
    return features * (features.square().sum(1, keepdim=True) + _EPS).rsqrt()
