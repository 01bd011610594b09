"""How different slices look, by the features of a network for photographs."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.losses.precision import full_precision, wide
from ct_vae.losses.vgg import VGG16

# Features of a norm below about 0.1 count as none: directions of almost nothing are noise, and
# their slopes have no bound. Air gives such features.
_EPS = 1e-2
_COLORS = 3


class PerceptualDistance:
    """LPIPS on a share of the slices along each axis (Zhang et al. 2018, eq. 1).

    Features are divided by their norm over channels at each position; squared differences are
    weighted per channel, summed over channels, averaged over positions and slices, summed over
    stages, and averaged over axes.

    Args:
        network: Its weights do not change.
        model_range: Model units that become black and white.
        share: Of the slices along each axis, above 0 and at most 1; at least one is taken.

    Raises:
        ConfigError: If the share is out of range.
    """

    def __init__(self, network: VGG16, model_range: tuple[float, float], share: float) -> None:
        if not 0 < share <= 1:
            raise ConfigError(f"perceptual_share is above 0 and at most 1, got {share}")
        self._network = network
        self._low, self._span = model_range[0], model_range[1] - model_range[0]
        self._share = share

    def __call__(
        self, image: torch.Tensor, target: torch.Tensor, samples_seen: int
    ) -> torch.Tensor:
        """Compare ``(B, C, *spatial)`` in model units.

        Args:
            image: In two or three dimensions; three channels are colors, any other number are
                gray images each.
            target: Of that shape.
            samples_seen: The slices are a function of it.

        Raises:
            InputError: If slices are too small, or if there are none.
        """
        if image.ndim not in (4, 5):
            raise InputError(f"slices are taken of 2-D or 3-D images, got {tuple(image.shape)}")
        with full_precision(image):
            a, b = ((wide(x) - self._low) / self._span for x in (image, target))
            pairs = zip(self._slices(a, samples_seen), self._slices(b, samples_seen), strict=True)
            return torch.stack([self._distance(*pair) for pair in pairs]).mean()

    def _slices(self, shades: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
        """Color images ``(N, 3, H, W)`` along each axis of ``(B, C, *spatial)``."""
        if shades.shape[1] != _COLORS:
            shades = shades.flatten(0, 1).unsqueeze(1)
        if shades.ndim == 4:
            yield _colored(shades)
            return
        generator = torch.Generator().manual_seed(seed)
        for axis in range(2, 5):
            count = shades.shape[axis]
            taken = max(1, round(self._share * count))
            places = torch.randperm(count, generator=generator)[:taken].to(shades.device)
            yield _colored(shades.index_select(axis, places).movedim(axis, 1).flatten(0, 1))

    def _distance(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = self._network(target)
        stages = [
            torch.einsum("nchw,c->nhw", (_unit(a) - _unit(b)).square(), weights).mean()
            for a, b, weights in zip(self._network(image), wanted, self._network.lin, strict=True)
        ]
        return torch.stack(stages).sum()


def _colored(slices: torch.Tensor) -> torch.Tensor:
    return slices.expand(-1, _COLORS, -1, -1)


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Features ``(N, C, H, W)`` over their norm at each position."""
    return features * (features.square().sum(1, keepdim=True) + _EPS).rsqrt()
