"""Lookup-free quantisation: every channel is one bit."""

from __future__ import annotations

import torch
from torch.nn import functional

from ct_vae.config.codes import MOST_BITS
from ct_vae.errors import ConfigError
from ct_vae.models.quantizers.quantized import (
    Quantized,
    Quantizer,
    channels_second,
    straight_through,
)

MOST_GROUP_BITS = 10


class LookupFree(Quantizer):
    """Codes are all corners of a cube: -1 or 1 in each channel (Yu et al. 2023, section 3.1).

    MAGVIT-v2, arXiv 2310.05737. Zero goes to -1, and the first channel is the lowest bit of the
    index.

    The entropy loss is the mean entropy of what a latent chooses (low: each is sure) less the
    entropy of what all choose together (high: all codes are used), in nats, with the choice
    ``softmax(-|z - c|^2 / temperature)`` over the codes c. Groups of channels are taken as
    independent, and their terms added up.

    Args:
        bits: Channels of the latent, 1 to 24; the codebook has ``2**bits`` codes.
        group_bits: Most channels in a group, 1 to 10.
        temperature: Softness of the choice in the entropy loss.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(self, bits: int = 16, group_bits: int = 10, temperature: float = 0.01) -> None:
        if not 1 <= bits <= MOST_BITS:
            raise ConfigError(f"lookup-free codes have 1 to {MOST_BITS} bits, got {bits}")
        if not 1 <= group_bits <= MOST_GROUP_BITS:
            raise ConfigError(
                f"groups of the entropy loss have 1 to {MOST_GROUP_BITS} bits, got {group_bits}"
            )
        if not 0 < temperature < float("inf"):
            raise ConfigError(f"the temperature of the entropy loss is above 0, got {temperature}")
        super().__init__(codebook_size=2**bits, width=bits)
        self.group_bits, self.temperature = group_bits, temperature

    def forward(self, z: torch.Tensor) -> Quantized:
        """Take the signs of ``(B, width, *spatial)``.

        ``losses["commitment"]`` is the mean squared distance of a latent's element to its code's,
        ``losses["entropy"]`` is described above.

        Raises:
            InputError: If it has another number of channels, or no voxel.
        """
        vectors = self._vectors(z)
        codes = _signs(vectors)
        indices = ((codes > 0).long() << self._places(z.device)).sum(dim=-1)
        losses = {
            "commitment": (vectors - codes).square().mean(),
            "entropy": self._entropy(vectors.flatten(0, -2)),
        }
        return self._quantized(straight_through(vectors, codes), indices, z.dtype, losses)

    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Nearest codes of a latent ``(B, width, *spatial)``; codes are mapped to themselves.

        Raises:
            InputError: If it has another number of channels, or no voxel.
        """
        vectors = self._vectors(latent)
        return channels_second(straight_through(vectors, _signs(vectors)), latent.dtype)

    def _codes_of(self, indices: torch.Tensor) -> torch.Tensor:
        bits = (indices.unsqueeze(-1) >> self._places(indices.device)) & 1
        return 2.0 * bits - 1.0

    def _places(self, device: torch.device) -> torch.Tensor:
        return torch.arange(self.width, device=device)

    def _entropy(self, rows: torch.Tensor) -> torch.Tensor:
        """Mean entropy of a choice less entropy of the mean choice, of latents ``(N, width)``."""
        # |z + 1|^2 - |z - 1|^2 = 4 z: given its latent, each bit is an independent coin.
        with torch.autocast(rows.device.type, enabled=False):
            logits = 4.0 * rows / self.temperature
            each = _coin_entropy(logits).sum(dim=1).mean()
            groups = logits.tensor_split(-(-self.width // self.group_bits), dim=1)
            together = torch.stack([_entropy_of_mean(group) for group in groups]).sum()
            result: torch.Tensor = each - together
        return result


def _signs(vectors: torch.Tensor) -> torch.Tensor:
    return 2.0 * (vectors.detach() > 0).to(vectors.dtype) - 1.0


def _coin_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of coins, in nats: -p log p - q log q with p the sigmoid of the logit."""
    heads, tails = torch.sigmoid(logits), torch.sigmoid(-logits)
    return -(heads * functional.logsigmoid(logits) + tails * functional.logsigmoid(-logits))


def _entropy_of_mean(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of the mean over latents of the joint distribution of their coins ``(N, g)``.

    A joint distribution is the outer product of those of two halves of the coins, and the mean of
    outer products is one matrix product: N times 2^(g/2) numbers are held, not N times 2^g.
    """
    first, second = (_joint(half) for half in logits.tensor_split(2, dim=1))
    mean = first.T @ second / len(logits)
    # The slope of p log p at 0 is infinite, and a product of it with 0 is not a number.
    result: torch.Tensor = torch.special.entr(mean.clamp_min(torch.finfo(mean.dtype).tiny)).sum()
    return result


def _joint(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities ``(N, 2^h)`` of all outcomes of independent coins ``(N, h)``."""
    places = torch.arange(logits.shape[1], device=logits.device)
    outcomes = torch.arange(2 ** logits.shape[1], device=logits.device)
    sides = 2.0 * ((outcomes >> places.unsqueeze(1)) & 1).to(logits.dtype) - 1.0
    # log p = sum of side * logit / 2, less what makes the probabilities add up to 1.
    return torch.softmax(0.5 * logits @ sides, dim=1)
