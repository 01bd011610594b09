"""What a quantizer gives, and what all quantizers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ct_vae.config.codes import MOST_CODES
from ct_vae.errors import ConfigError, InputError

_CODES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Quantized:
    """A latent on the codes of a finite codebook.

    Attributes:
        latent: ``(B, width, *spatial)`` of codes, in the dtype of what was quantized. Its gradient
            goes straight through to that, as if there were no rounding. A latent that was not
            finite stays so.
        indices: ``(B, *spatial)``, int64, from 0 to the size of the codebook less one.
        losses: Unweighted means, float32 scalars by name; none where a quantizer needs none.
        perplexity: Exponential of the entropy of the codes' frequencies in this batch, scalar.
        usage: Share of the codebook that occurs in this batch, scalar.
    """

    latent: torch.Tensor
    indices: torch.Tensor
    losses: dict[str, torch.Tensor]
    perplexity: torch.Tensor
    usage: torch.Tensor


class Quantizer(nn.Module, ABC):
    """Base of the quantizers.

    Args:
        codebook_size: Number of codes.
        width: Channels of the latent, which is the length of a code.

    Raises:
        ConfigError: If there are fewer than 2 or more than 2^24 codes, or if a code is empty.
    """

    def __init__(self, codebook_size: int, width: int) -> None:
        super().__init__()
        if not 2 <= codebook_size <= MOST_CODES:
            raise ConfigError(f"a codebook has 2 to {MOST_CODES} codes, got {codebook_size}")
        if width < 1:
            raise ConfigError(f"a code has at least 1 channel, got {width}")
        self.codebook_size = codebook_size
        self.width = width

    @abstractmethod
    def forward(self, z: torch.Tensor) -> Quantized:
        """Quantize an encoder's output ``(B, width, *spatial)``, any number of dimensions.

        Raises:
            InputError: If it has another number of channels, or no voxel.
        """

    @abstractmethod
    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Nearest codes of a latent ``(B, width, *spatial)`` that lies in the space of the codes.

        Codes are mapped to themselves, bit by bit. The gradient goes straight through.

        Raises:
            InputError: If it has another number of channels, or no voxel.
        """

    @abstractmethod
    def _codes_of(self, indices: torch.Tensor) -> torch.Tensor:
        """Codes ``(..., width)`` of valid int64 indices ``(...)``."""

    def decode_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Codes ``(B, width, *spatial)``, float32, of integers ``(B, *spatial)``.

        Raises:
            InputError: If they are not integers, or if one is outside the codebook.
        """
        if indices.dtype == torch.bool or indices.is_floating_point() or indices.is_complex():
            raise InputError(f"indices of codes are integers, got {indices.dtype}")
        whole = indices.long()
        outside = torch.unique(whole[(whole < 0) | (whole >= self.codebook_size)])
        if len(outside):
            shown = ", ".join(str(i) for i in outside[:_CODES_SHOWN].tolist())
            more = f" and {len(outside) - _CODES_SHOWN} more" if len(outside) > _CODES_SHOWN else ""
            raise InputError(
                f"codes have indices from 0 to {self.codebook_size - 1}, got {shown}{more}",
                "decode with the model that encoded",
            )
        return self._codes_of(whole).float().movedim(-1, 1).contiguous()

    def _vectors(self, z: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, width)`` in float32, or in float64 when that is what comes in."""
        if z.ndim < 2 or z.shape[1] != self.width or z.numel() == 0:
            raise InputError(
                f"a quantizer with codes of {self.width} channels takes "
                f"(B, {self.width}, *spatial) with at least one voxel, got {tuple(z.shape)}"
            )
        return z.movedim(1, -1).to(torch.promote_types(z.dtype, torch.float32))

    def _quantized(
        self,
        vectors: torch.Tensor,
        indices: torch.Tensor,
        dtype: torch.dtype,
        losses: Mapping[str, torch.Tensor],
    ) -> Quantized:
        perplexity, usage = code_statistics(indices, self.codebook_size)
        return Quantized(
            latent=channels_second(vectors, dtype),
            indices=indices,
            losses={name: value.float() for name, value in losses.items()},
            perplexity=perplexity,
            usage=usage,
        )


def channels_second(vectors: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``(B, *spatial, width)`` as ``(B, width, *spatial)`` of a dtype."""
    return vectors.movedim(-1, 1).to(dtype).contiguous()


def straight_through(z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The codes, with the gradient of ``z`` (Bengio et al. 2013).

    Written so that the value is the code to the last bit, which ``z + (codes - z)`` is not, and
    so that a ``z`` that is not finite does not turn into an innocent code.
    """
    return codes.detach() + (z - z.detach())


def code_counts(indices: torch.Tensor, codebook_size: int) -> torch.Tensor:
    """How often each code occurs, ``(codebook_size,)``, int32."""
    flat = indices.flatten()
    counts = torch.zeros(codebook_size, dtype=torch.int32, device=flat.device)
    # Not bincount: its shape depends on the values, on which a full graph cannot be compiled.
    return counts.scatter_add_(0, flat, torch.ones_like(flat, dtype=torch.int32))


def code_statistics(indices: torch.Tensor, codebook_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Perplexity of the codes and share of the codebook that occurs, two float32 scalars."""
    counts = code_counts(indices, codebook_size)
    frequencies = counts.float() / indices.numel()
    perplexity = torch.special.entr(frequencies).sum().exp()
    return perplexity, (counts > 0).float().mean()
