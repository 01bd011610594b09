"""KLT baseline: the best linear code of blocks with as many values as the latent."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from ct_vae.blocks.patch import space_to_depth
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.models.linear_code import BlockKLT
from ct_vae.preprocess.pipeline import Preprocessor, restore
from ct_vae.volume import BODY_ABOVE_HU, Volume

_INT16 = np.iinfo(np.int16)


def klt_baseline(
    volume: Volume, preprocessor: Preprocessor, factor: Sequence[int], codes: int
) -> Baseline:
    """Code the blocks of a volume by the Karhunen-Loeve transform fitted on this volume.

    The transform is fitted on the blocks that overlap the body. No other linear code with the same
    number of values has a lower squared error on these blocks. The size of the transform itself is
    not counted.

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
    codes = min(codes, prod(factor))
    code = klt.fit(codes)
    coded = code.decode(code.encode(units, factor), factor)
    back = restore(coded[0, 0], prepared.record, volume.grid)
    voxels = np.rint(back.voxels).clip(_INT16.min, _INT16.max).astype(np.int16)
    count = codes * inside.numel()
    return Baseline("klt", Volume(voxels, volume.grid, volume.outside_fov), count)
