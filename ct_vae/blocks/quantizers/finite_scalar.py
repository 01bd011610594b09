"""Finite scalar quantization: each channel is rounded to a few levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from ct_vae.blocks.quantizers.quantized import (
    Quantized,
    Quantizer,
    channels_second,
    straight_through,
)
from ct_vae.config.codes import MOST_CODES
from ct_vae.errors import ConfigError

_EPS = 1e-3


class FiniteScalar(Quantizer):
    """Finite scalar quantization with an implicit codebook (Mentzer et al. 2023, arXiv 2309.15505).

    A channel with L levels is bounded by a hyperbolic tangent and rounded to integers from ``-(L //
    2)`` to ``(L - 1) // 2``; codes are these integers divided by ``L // 2``, in [-1, 1]. The index
    is a mixed-radix number with the first channel as the lowest digit. `forward` bounds encoder
    outputs; use `nearest` for latents that are already codes.

    Args:
        levels: Number of levels of each channel, at least 2; defaults to (8, 8, 8, 5, 5, 5).

    Raises:
        ConfigError: If there are no levels, fewer than 2 in a channel, or more than 2^24 codes.
    """

    def __init__(self, levels: Sequence[int] = (8, 8, 8, 5, 5, 5)) -> None:
        given = tuple(levels) if isinstance(levels, Iterable) else ()
        if not given or min(given) < 2 or math.prod(given) > MOST_CODES:
            raise ConfigError(
                f"finite scalar quantization has at least 2 levels in each channel and at most "
                f"{MOST_CODES} codes, got levels {levels}"
            )
        super().__init__(codebook_size=math.prod(given), width=len(given))
        self.levels = given

    def forward(self, z: torch.Tensor) -> Quantized:
        """Bound and round ``(B, width, *spatial)``; there are no losses.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
        """
        half = self._half(z.device)
        vectors = self._vectors(z)
        bounded = self._bound(vectors)
        # Bounding maps infinity to a finite value; adding inf - inf = NaN keeps the error visible.
        steps = (bounded + (vectors - vectors)).detach().round()
        latent = straight_through(bounded / half, steps / half)
        return self._quantized(latent, self._index(steps), z.dtype, {})

    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes of ``(B, width, *spatial)``; codes are mapped to themselves.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
        """
        vectors = self._vectors(latent)
        half = self._half(latent.device)
        highest = self._level_count(latent.device) - 1 - half
        steps = torch.minimum((vectors.detach() * half).round().maximum(-half), highest)
        return channels_second(straight_through(vectors, steps / half), latent.dtype)

    def _codes_of(self, indices: torch.Tensor) -> torch.Tensor:
        half = self._half(indices.device)
        digits = indices.unsqueeze(-1) // self._basis(indices.device)
        return (digits % self._level_count(indices.device) - half) / half

    def _bound(self, vectors: torch.Tensor) -> torch.Tensor:
        """Bound to (-L/2, L/2 - 1) for even L, or +-(L - 1)/2 for odd L (paper, appendix A.1)."""
        count = self._level_count(vectors.device).to(vectors.dtype)
        reach = (count - 1) * (1 - _EPS) / 2
        # With an even number of levels, zero is a level and not halfway between two.
        offset = 0.5 * (1 - count % 2)
        return torch.tanh(vectors + torch.tan(offset / reach)) * reach - offset

    def _index(self, steps: torch.Tensor) -> torch.Tensor:
        digits = steps + self._half(steps.device)
        # Values that are not finite stay so in the latent but get a valid index.
        return (digits.nan_to_num().long() * self._basis(steps.device)).sum(dim=-1)

    def _level_count(self, device: torch.device) -> torch.Tensor:
        return torch.tensor(self.levels, device=device)

    def _half(self, device: torch.device) -> torch.Tensor:
        return torch.tensor([n // 2 for n in self.levels], device=device)

    def _basis(self, device: torch.device) -> torch.Tensor:
        places = [math.prod(self.levels[:i]) for i in range(self.width)]
        return torch.tensor(places, device=device)
