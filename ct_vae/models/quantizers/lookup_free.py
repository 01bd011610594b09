"""Lookup-free quantization: each channel is one bit."""

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
    """Lookup-free quantization to -1 or 1 per channel (Yu et al. 2023, section 3.1).

    See MAGVIT-v2, arXiv 2310.05737. Zero is mapped to -1, and the first channel is the lowest bit
    of the index.

    The entropy loss is the mean entropy of each latent's assignment (low if assignments are
    certain) minus the entropy of the mean assignment (high if all codes are used), in nats.
    Assignment probabilities are ``softmax(-|z - c|^2 / temperature)`` over the codes c. Groups of
    channels are treated as independent and their terms are added.

    Args:
        bits: Channels of the latent, 1 to 24; the codebook has ``2**bits`` codes. Defaults to 16.
        group_bits: Largest number of channels in a group, 1 to 10; defaults to 10.
        temperature: Temperature of the assignment in the entropy loss; defaults to 0.01.

    Raises:
        ConfigError: If a value is out of range.
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
        """Quantize ``(B, width, *spatial)`` to its signs.

        ``losses["commitment"]`` is the mean squared difference between latents and their codes,
        ``losses["entropy"]`` the entropy loss described above.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
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
        """Return the nearest codes of ``(B, width, *spatial)``; codes are mapped to themselves.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
        """
        vectors = self._vectors(latent)
        return channels_second(straight_through(vectors, _signs(vectors)), latent.dtype)

    def _codes_of(self, indices: torch.Tensor) -> torch.Tensor:
        bits = (indices.unsqueeze(-1) >> self._places(indices.device)) & 1
        return 2.0 * bits - 1.0

    def _places(self, device: torch.device) -> torch.Tensor:
        return torch.arange(self.width, device=device)

    def _entropy(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute the mean entropy minus the entropy of the mean for latents ``(N, width)``."""
        # |z + 1|^2 - |z - 1|^2 = 4 z: given its latent, bits are independent Bernoulli variables.
        with torch.autocast(rows.device.type, enabled=False):
            logits = 4.0 * rows / self.temperature
            each = _bernoulli_entropy(logits).sum(dim=1).mean()
            groups = logits.tensor_split(-(-self.width // self.group_bits), dim=1)
            together = torch.stack([_entropy_of_mean(group) for group in groups]).sum()
            result: torch.Tensor = each - together
        return result


def _signs(vectors: torch.Tensor) -> torch.Tensor:
    return 2.0 * (vectors.detach() > 0).to(vectors.dtype) - 1.0


def _bernoulli_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy -p log p - q log q in nats, with p the sigmoid of the logit."""
    heads, tails = torch.sigmoid(logits), torch.sigmoid(-logits)
    return -(heads * functional.logsigmoid(logits) + tails * functional.logsigmoid(-logits))


def _entropy_of_mean(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of the joint distribution of bits ``(N, g)``, averaged over latents.

    The joint distribution is the outer product of those of two halves of the bits, and the mean of
    outer products is one matrix product. This needs N times 2^(g/2) numbers instead of N times 2^g.
    """
    first, second = (_joint(half) for half in logits.tensor_split(2, dim=1))
    mean = first.T @ second / len(logits)
    # The derivative of p log p at 0 is infinite, and its product with 0 is NaN.
    result: torch.Tensor = torch.special.entr(mean.clamp_min(torch.finfo(mean.dtype).tiny)).sum()
    return result


def _joint(logits: torch.Tensor) -> torch.Tensor:
    """Return the probabilities ``(N, 2^h)`` of all outcomes of independent bits ``(N, h)``."""
    places = torch.arange(logits.shape[1], device=logits.device)
    outcomes = torch.arange(2 ** logits.shape[1], device=logits.device)
    sides = 2.0 * ((outcomes >> places.unsqueeze(1)) & 1).to(logits.dtype) - 1.0
    # log p = sum of side * logit / 2, up to normalization.
    return torch.softmax(0.5 * logits @ sides, dim=1)
