"""Agreement of mean HU over regions of the body (Bland and Altman 1986)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.masks import Mask

REGION_MM = 20.0
_Z_95 = 1.96

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Mean HU of regions, in the original and in the reconstruction.

    Attributes:
        originals: ``(regions,)`` float64.
        reconstructions: ``(regions,)`` float64.
    """

    originals: FloatArray
    reconstructions: FloatArray

    @property
    def regions(self) -> int:
        """Number of regions."""
        return self.originals.size

    @property
    def bias(self) -> float | None:
        """Mean difference, reconstruction minus original, in HU."""
        return float(self._apart.mean()) if self.regions else None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Limits of agreement in HU: the mean difference and 1.96 standard deviations."""
        if self.regions < 2:
            return None
        middle, spread = float(self._apart.mean()), _Z_95 * float(self._apart.std(ddof=1))
        return middle - spread, middle + spread

    @property
    def _apart(self) -> FloatArray:
        return self.reconstructions - self.originals


def region_agreement(pair: Pair, mask: Mask, region_mm: float = REGION_MM) -> Agreement:
    """Compare mean HU, without clipping, over blocks that are completely inside a mask.

    Blocks have a size of about ``region_mm`` along each axis (at least one voxel) and tile the
    volume from the first voxel; incomplete blocks at the end are ignored.
    """
    blocks = [max(1, round(region_mm / spacing)) for spacing in pair.spacing_mm]
    inside = pair.slices(mask.voxels)
    a, rows, columns = (n // block for n, block in zip(inside.shape, blocks, strict=True))
    found: list[list[FloatArray]] = [[], []]
    shape = (blocks[0], rows, blocks[1], columns, blocks[2])
    for place in range(a):
        part = np.s_[place * blocks[0] : (place + 1) * blocks[0], : shape[1] * shape[2]]
        cut = (*part, slice(shape[3] * shape[4]))
        whole = inside[cut].reshape(shape).all(axis=(0, 2, 4))
        if whole.any():
            for values, image in zip(found, pair.images, strict=True):
                means = image[cut].reshape(shape).mean(axis=(0, 2, 4), dtype=np.float64)
                values.append(means[whole])
    first, second = (np.concatenate(v) if v else np.zeros(0) for v in found)
    return Agreement(first, second)
