"""Lookup-free quantization: each channel is one bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import distributed
from torch.nn import functional

from ct_vae.blocks.quantizers.quantized import (
    Quantized,
    Quantizer,
    channels_second,
    straight_through,
    world_size,
)
from ct_vae.config.codes import MOST_BITS
from ct_vae.errors import ConfigError

MOST_GROUP_BITS = 10


class LookupFree(Quantizer):
    """Lookup-free quantization to -1 or 1 per channel (Yu et al. 2023, section 3.1).

    See MAGVIT-v2, arXiv 2310.05737. Zero is mapped to -1, and the first channel is the lowest bit
    of the index.

    The entropy loss is the mean entropy of each latent's assignment (low if assignments are
    certain) minus the entropy of the mean assignment (high if all codes are used), in nats. In
    training, the mean is that of all ranks, and within `whole_batch` that of all forward passes.
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
        # Mean assignments of a batch that is split, for each group.
        self._means: list[torch.Tensor] | None = None

    @property
    def looks_ahead(self) -> bool:
        """True: the mean assignment is that of the whole batch."""
        return True

    @contextmanager
    def whole_batch(self, latents: Sequence[torch.Tensor] = ()) -> Iterator[None]:
        """Use the mean assignment of all latents of a batch in the entropy loss of its parts.

        Args:
            latents: Inputs ``(B, width, *spatial)`` of all forward passes; without any, every part
                is treated as a batch of its own.
        """
        if latents:
            with torch.no_grad():
                parts = [self._vectors(z).flatten(0, -2) for z in latents]
                total = sum(map(len, parts))
                weighted = [
                    [mean * (len(rows) / total) for mean in self._mean_assignments(rows)]
                    for rows in parts
                ]
                means = [torch.stack(group).sum(0) for group in zip(*weighted, strict=True)]
                self._means = _mean_over_ranks(means) if world_size() > 1 else means
        try:
            yield
        finally:
            self._means = None

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
        with torch.autocast(rows.device.type, enabled=False):
            each = _bernoulli_entropy(self._logits(rows)).sum(dim=1).mean()
            means = self._mean_assignments(rows)
            if self._means is not None:
                means = list(map(_with_gradient_of, self._means, means))
            elif self.training and world_size() > 1:
                means = list(map(_with_gradient_of, _mean_over_ranks(means), means))
            # The derivative of p log p at 0 is infinite, and its product with 0 is NaN.
            sums = [torch.special.entr(m.clamp_min(torch.finfo(m.dtype).tiny)).sum() for m in means]
            result: torch.Tensor = each - torch.stack(sums).sum()
        return result

    def _logits(self, rows: torch.Tensor) -> torch.Tensor:
        # |z + 1|^2 - |z - 1|^2 = 4 z: given its latent, bits are independent Bernoulli variables.
        return 4.0 * rows / self.temperature

    def _mean_assignments(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return the joint distribution of the bits of each group, averaged over ``(N, width)``.

        The joint distribution is the outer product of those of two halves of the bits, and the mean
        of outer products is one matrix product. This needs N times 2^(g/2) numbers for g bits
        instead of N times 2^g.
        """
        means = []
        with torch.autocast(rows.device.type, enabled=False):
            groups = -(-self.width // self.group_bits)
            for group in self._logits(rows).tensor_split(groups, dim=1):
                first, second = (_joint(half) for half in group.tensor_split(2, dim=1))
                means.append(first.T @ second / len(rows))
        return means


def _with_gradient_of(whole: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Return the mean of the whole batch with the gradient of that of a part.

    Averaged over the parts, the gradient is that of the whole.
    """
    return whole + (part - part.detach())


@torch.no_grad()
def _mean_over_ranks(means: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    flat = torch.cat([mean.flatten() for mean in means])
    distributed.all_reduce(flat)
    pieces = torch.split(flat / world_size(), [mean.numel() for mean in means])
    return [piece.view(mean.shape) for piece, mean in zip(pieces, means, strict=True)]


def _signs(vectors: torch.Tensor) -> torch.Tensor:
    return 2.0 * (vectors.detach() > 0).to(vectors.dtype) - 1.0


def _bernoulli_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy -p log p - q log q in nats, with p the sigmoid of the logit."""
    heads, tails = torch.sigmoid(logits), torch.sigmoid(-logits)
    return -(heads * functional.logsigmoid(logits) + tails * functional.logsigmoid(-logits))


def _joint(logits: torch.Tensor) -> torch.Tensor:
    """Return the probabilities ``(N, 2^h)`` of all outcomes of independent bits ``(N, h)``."""
    places = torch.arange(logits.shape[1], device=logits.device)
    outcomes = torch.arange(2 ** logits.shape[1], device=logits.device)
    sides = 2.0 * ((outcomes >> places.unsqueeze(1)) & 1).to(logits.dtype) - 1.0
    # log p = sum of side * logit / 2, up to normalization.
    return torch.softmax(0.5 * logits @ sides, dim=1)
