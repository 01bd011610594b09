"""KLT baseline: the best linear code of blocks with as many values as the latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from ct_vae.blocks.patch import space_to_depth
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.models.linear_code import BlockKLT, LinearCode
from ct_vae.preprocess.pipeline import ModelInput, Preprocessor
from ct_vae.preprocess.restoration import restore
from ct_vae.volume import BODY_ABOVE_HU, Volume

_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class BlockCode:
    """Coefficients of the blocks of one volume, and the transform to reconstruct it.

    Attributes:
        volume: Original volume.
        coefficients: ``(codes, *blocks)`` in float32, in units of an orthonormal transform: an
            error of the coefficients is the error of the voxels, in the norm.
    """

    volume: Volume
    coefficients: NDArray[np.float32]
    _code: LinearCode
    _scale: torch.Tensor
    _prepared: ModelInput
    _sides: tuple[int, ...]

    def decode(self, coefficients: NDArray[np.float32]) -> Volume:
        """Reconstruct the volume from coefficients, in int16 HU on the grid of the original."""
        codes = torch.from_numpy(coefficients)[None] / self._scale
        units = self._code.decode(codes, self._sides)
        back = restore(units[0, 0], self._prepared.record, self.volume.grid)
        voxels = np.rint(back.voxels).clip(_INT16.min, _INT16.max).astype(np.int16)
        return Volume(voxels, self.volume.grid, self.volume.outside_fov)


def fit_klt(
    volume: Volume, preprocessor: Preprocessor, factor: Sequence[int], codes: int
) -> BlockCode:
    """Fit the Karhunen-Loeve transform of the blocks of a volume and code them.

    The transform is fitted on the blocks that overlap the body. No other linear code with the same
    number of values has a lower squared error on these blocks.

    Args:
        volume: Original volume.
        preprocessor: Preprocessing of the model, for HU range and orientation.
        factor: Block size: the downsampling factor of the model along each axis.
        codes: Number of values per block, at most its number of voxels.
    """
    prepared = preprocessor(volume, factor)
    units = prepared.tensor.float()
    blocks = space_to_depth(units, factor)
    threshold = preprocessor.scale.to_model(torch.tensor(float(BODY_ABOVE_HU)))
    inside = (blocks > threshold).any(1)[0]
    klt = BlockKLT(factor)
    rows = blocks[0].movedim(0, -1)
    klt.add_blocks(rows[inside] if inside.any() else rows.flatten(0, -2))
    code = klt.fit(min(codes, prod(factor)))
    # Codes have unit variance; the columns of the synthesis contain their scale.
    scale = code.synthesis.norm(dim=0).clamp(min=1e-12).float().reshape(1, -1, 1, 1, 1)
    coefficients = (code.encode(units, factor) * scale)[0].numpy()
    return BlockCode(volume, coefficients, code, scale, prepared, tuple(factor))


def klt_baseline(
    volume: Volume, preprocessor: Preprocessor, factor: Sequence[int], codes: int
) -> Baseline:
    """Code the blocks of a volume by the transform of `fit_klt`.

    The size of the transform itself is not counted.

    Args:
        volume: Original volume.
        preprocessor: Preprocessing of the model, for HU range and orientation.
        factor: Block size: the downsampling factor of the model along each axis.
        codes: Number of values per block, at most its number of voxels.
    """
    code = fit_klt(volume, preprocessor, factor, codes)
    return Baseline("klt", code.decode(code.coefficients), code.coefficients.size)
