"""The linear transform beside encoder and decoder: which one it is, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ct_vae.blocks.patch import PatchEmbedND, PatchUnembedND, dct_basis, space_to_depth
from ct_vae.errors import InputError

# Codes of values that never vary are left at their own scale.
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False)
class LinearCode:
    """A linear code of blocks of voxels: ``code = analysis @ (block - mean)``.

    Attributes:
        analysis: ``(codes, values)`` float64, columns in the order of `space_to_depth`.
        synthesis: ``(values, codes)`` float64; ``mean + synthesis @ code`` is the best
            reconstruction of a block.
        mean: ``(values,)`` float64.
    """

    analysis: torch.Tensor
    synthesis: torch.Tensor
    mean: torch.Tensor

    def encode(self, image: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
        """Codes ``(B, codes, *spatial / sides)`` of an image, in its dtype."""
        blocks = space_to_depth(image, sides).movedim(1, -1) - self.mean.to(image)
        return (blocks @ self.analysis.to(image).T).movedim(-1, 1)


class BlockKLT:
    """Karhunen-Loeve transform of blocks, fitted on images that are handed over one by one.

    It is the linear code with the least squared error for its number of codes (Jain 1989, section
    5.11). Codes are scaled to unit variance, the largest variance first; the sign of each is that
    which makes its largest coefficient positive.

    Args:
        sides: Of a block in voxels, one for each axis.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        self._sides = tuple(sides)
        self._count = 0
        self._sum = torch.zeros(())
        self._products = torch.zeros(())

    def add(self, image: torch.Tensor) -> None:
        """Take the blocks of images ``(B, C, *spatial)`` into account."""
        blocks = space_to_depth(image, self._sides).movedim(1, -1).flatten(0, -2).double().cpu()
        if not self._count:
            values = blocks.shape[1]
            self._sum = blocks.new_zeros(values)
            self._products = blocks.new_zeros(values, values)
        self._count += len(blocks)
        self._sum += blocks.sum(0)
        self._products += blocks.T @ blocks

    def fit(self, codes: int) -> LinearCode:
        """The transform with that many codes.

        Raises:
            InputError: If no image was handed over, or if blocks have fewer values than codes.
        """
        if not self._count:
            raise InputError("a KLT needs at least one image", "name training data")
        mean = self._sum / self._count
        if codes > len(mean):
            raise InputError(f"{codes} codes of blocks of {len(mean)} values", "take fewer codes")
        covariance = self._products / self._count - torch.outer(mean, mean)
        variances, vectors = torch.linalg.eigh(covariance)
        rows = vectors.T.flip(0)[:codes]
        largest = rows.abs().argmax(1, keepdim=True)
        rows = rows * rows.gather(1, largest).sign()
        variances = variances.flip(0)[:codes]
        scale = torch.where(variances > _LEAST_VARIANCE, variances, torch.ones(())).sqrt()
        return LinearCode(rows / scale[:, None], rows.T * scale, mean)


def dct_code(channels: int, sides: Sequence[int], codes: int) -> LinearCode:
    """The lowest frequencies of the block's DCT, which needs no data.

    Args:
        channels: Of the image.
        sides: Of a block.
        codes: Number of codes.
    """
    basis = dct_basis((channels, *sides), codes)
    return LinearCode(basis, basis.T, basis.new_zeros(basis.shape[1]))


def load_linear_code(encoder: nn.Module, decoder: nn.Module, code: LinearCode) -> None:
    """Put a code into the skips of an encoder and a decoder that have them."""
    embed, unembed = encoder.skip, decoder.skip
    assert isinstance(embed, PatchEmbedND)
    assert isinstance(unembed, PatchUnembedND)
    embed.set_map(code.analysis, -(code.analysis @ code.mean))
    unembed.set_map(code.synthesis, code.mean)
