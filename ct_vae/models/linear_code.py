"""Linear codes of blocks of voxels (KLT and DCT) for the linear skip of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ct_vae.blocks.patch import (
    PatchEmbedND,
    PatchUnembedND,
    dct_basis,
    depth_to_space,
    space_to_depth,
)
from ct_vae.errors import InputError

# Codes with a variance below this are not scaled.
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False)
class LinearCode:
    """Linear code of blocks of voxels: ``code = analysis @ (block - mean)``.

    Attributes:
        analysis: Matrix ``(codes, values)`` in float64, columns in the order of `space_to_depth`.
        synthesis: Matrix ``(values, codes)`` in float64; ``mean + synthesis @ code`` is the best
            reconstruction of a block.
        mean: Mean block ``(values,)`` in float64.
    """

    analysis: torch.Tensor
    synthesis: torch.Tensor
    mean: torch.Tensor

    def encode(self, image: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
        """Compute the codes ``(B, codes, *spatial / sides)`` of an image, in its dtype."""
        blocks = space_to_depth(image, sides).movedim(1, -1) - self.mean.to(image)
        return (blocks @ self.analysis.to(image).T).movedim(-1, 1)

    def decode(self, codes: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
        """Reconstruct images ``(B, C, *spatial)`` from what `encode` returns, in its dtype."""
        blocks = codes.movedim(1, -1) @ self.synthesis.to(codes).T + self.mean.to(codes)
        return depth_to_space(blocks.movedim(-1, 1), sides)


class BlockKLT:
    """Karhunen-Loeve transform of blocks, fitted on images that are added one by one.

    It is the linear code with the smallest squared error for its number of codes (Jain 1989,
    section 5.11). Codes are scaled to unit variance and sorted by decreasing variance; signs make
    the largest coefficient of each code positive.

    Args:
        sides: Size of a block in voxels along each axis.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        self._sides = tuple(sides)
        self._count = 0
        self._sum = torch.zeros(())
        self._products = torch.zeros(())

    def add(self, image: torch.Tensor) -> None:
        """Add the blocks of images ``(B, C, *spatial)``."""
        self.add_blocks(space_to_depth(image, self._sides).movedim(1, -1).flatten(0, -2))

    def add_blocks(self, blocks: torch.Tensor) -> None:
        """Add some blocks only, ``(count, values)`` in the order of `space_to_depth`."""
        blocks = blocks.double().cpu()
        if not self._count:
            values = blocks.shape[1]
            self._sum = blocks.new_zeros(values)
            self._products = blocks.new_zeros(values, values)
        self._count += len(blocks)
        self._sum += blocks.sum(0)
        self._products += blocks.T @ blocks

    def fit(self, codes: int) -> LinearCode:
        """Compute the transform with the given number of codes.

        Raises:
            InputError: If no image was added, or if blocks have fewer values than codes.
        """
        if not self._count:
            raise InputError("a KLT needs at least one image", "name training data")
        mean = self._sum / self._count
        if codes > len(mean):
            raise InputError(
                f"{codes} codes exceed the {len(mean)} values of a block", "use fewer codes"
            )
        covariance = self._products / self._count - torch.outer(mean, mean)
        variances, vectors = torch.linalg.eigh(covariance)
        rows = vectors.T.flip(0)[:codes]
        largest = rows.abs().argmax(1, keepdim=True)
        rows = rows * rows.gather(1, largest).sign()
        variances = variances.flip(0)[:codes]
        scale = torch.where(variances > _LEAST_VARIANCE, variances, torch.ones(())).sqrt()
        return LinearCode(rows / scale[:, None], rows.T * scale, mean)


def dct_code(channels: int, sides: Sequence[int], codes: int) -> LinearCode:
    """Return the linear code of the lowest DCT frequencies, which needs no data.

    Args:
        channels: Channels of the image.
        sides: Size of a block along each axis.
        codes: Number of codes.
    """
    basis = dct_basis((channels, *sides), codes)
    return LinearCode(basis, basis.T, basis.new_zeros(basis.shape[1]))


def load_linear_code(encoder: nn.Module, decoder: nn.Module, code: LinearCode) -> None:
    """Load a linear code into the skip connections of an encoder and a decoder."""
    embed, unembed = encoder.skip, decoder.skip
    assert isinstance(embed, PatchEmbedND)
    assert isinstance(unembed, PatchUnembedND)
    embed.set_map(code.analysis, -(code.analysis @ code.mean))
    unembed.set_map(code.synthesis, code.mean)
