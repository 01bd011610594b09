"""Base class of quantizers and their result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn

from ct_vae.config.codes import MOST_CODES
from ct_vae.errors import ConfigError, InputError

_CODES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Quantized:
    """Result of a quantizer.

    Attributes:
        latent: Codes ``(B, width, *spatial)`` in the dtype of the input, with a straight-through
            gradient to it. Values that are not finite stay so.
        indices: Indices of the codes ``(B, *spatial)``, int64.
        losses: Unweighted losses by name, float32 scalars; empty if the quantizer has none.
        perplexity: Exponential of the entropy of the code frequencies in this batch, a scalar.
        usage: Fraction of the codebook used in this batch, a scalar.
    """

    latent: torch.Tensor
    indices: torch.Tensor
    losses: dict[str, torch.Tensor]
    perplexity: torch.Tensor
    usage: torch.Tensor


class Quantizer(nn.Module, ABC):
    """Base class of quantizers.

    Args:
        codebook_size: Number of codes.
        width: Channels of the latent, the length of a code.

    Raises:
        ConfigError: If there are fewer than 2 or more than 2^24 codes, or if ``width`` is below 1.
    """

    def __init__(self, codebook_size: int, width: int) -> None:
        super().__init__()
        if not 2 <= codebook_size <= MOST_CODES:
            raise ConfigError(f"a codebook has 2 to {MOST_CODES} codes, got {codebook_size}")
        if width < 1:
            raise ConfigError(f"a code has at least 1 channel, got {width}")
        self.codebook_size = codebook_size
        self.width = width

    @property
    def looks_ahead(self) -> bool:
        """True if `whole_batch` needs the latents of a batch before they are quantized."""
        return False

    @contextmanager
    def whole_batch(self, latents: Sequence[torch.Tensor] = ()) -> Iterator[None]:  # noqa: ARG002
        """Treat all forward passes inside the context as parts of one batch.

        Quantizers that depend on a batch as a whole then give the same result however it is split.

        Args:
            latents: Inputs ``(B, width, *spatial)`` of all forward passes, if `looks_ahead` is
                true.
        """
        yield

    @abstractmethod
    def forward(self, z: torch.Tensor) -> Quantized:
        """Quantize an encoder output ``(B, width, *spatial)`` of any number of dimensions.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
        """

    @abstractmethod
    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes of a latent ``(B, width, *spatial)`` in the space of the codes.

        Codes are mapped exactly to themselves. The gradient is straight-through.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
        """

    @abstractmethod
    def _codes_of(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the codes ``(..., width)`` of valid int64 indices ``(...)``."""

    def decode_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the codes ``(B, width, *spatial)`` in float32 of indices ``(B, *spatial)``.

        Raises:
            InputError: If the indices are not integers, or if one is outside the codebook.
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
        """Convert the input to ``(B, *spatial, width)`` in float32, or in float64 if it is."""
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


def world_size() -> int:
    """Return the number of ranks that train together, 1 without ``torch.distributed``."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def channels_second(vectors: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Convert ``(B, *spatial, width)`` to ``(B, width, *spatial)`` with the given dtype."""
    return vectors.movedim(-1, 1).to(dtype).contiguous()


def straight_through(z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the codes with the gradient of ``z`` (Bengio et al. 2013).

    Unlike ``z + (codes - z)``, the value is exactly the code, and a ``z`` that is not finite stays
    visible.
    """
    return codes.detach() + (z - z.detach())


def code_counts(indices: torch.Tensor, codebook_size: int) -> torch.Tensor:
    """Return the number of occurrences of each code, ``(codebook_size,)``, int32."""
    flat = indices.flatten()
    counts = torch.zeros(codebook_size, dtype=torch.int32, device=flat.device)
    # Not bincount: its output shape depends on values, which prevents full-graph compilation.
    return counts.scatter_add_(0, flat, torch.ones_like(flat, dtype=torch.int32))


def code_statistics(indices: torch.Tensor, codebook_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the perplexity of the codes and the used fraction of the codebook, float32 scalars."""
    counts = code_counts(indices, codebook_size)
    frequencies = counts.float() / indices.numel()
    perplexity = torch.special.entr(frequencies).sum().exp()
    return perplexity, (counts > 0).float().mean()
