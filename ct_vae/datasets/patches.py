"""Random patches of cached volumes; each is a function of the seed and its place in the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ct_vae.errors import ConfigError, InputError
from ct_vae.volume import AIR_HU, BODY_ABOVE_HU, Volume

_CENTRES_PER_CASE = 50_000


class PatchDataset(Dataset[torch.Tensor]):
    """Patches ``(1, *patch_size)`` of int16 HU.

    Volumes are held in memory as int16, and so is a fixed random choice of body voxels of each, on
    which patches are centred. A patch that reaches outside its volume is filled up with air.

    Args:
        volumes: Oriented volumes; for two sides in ``patch_size`` their axial slices are used.
        patch_size: Sides of a patch in voxels.
        length: Number of patches, those of the whole run.
        seed: Together with the index it decides everything about a patch.
        foreground_share: Share of patches that are centred on a voxel above -500 HU.

    Raises:
        InputError: If there is no volume.
        ConfigError: If ``patch_size`` has neither two nor three sides.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        patch_size: Sequence[int],
        length: int,
        seed: int,
        foreground_share: float,
    ) -> None:
        if not volumes:
            raise InputError("training needs at least one volume")
        if len(patch_size) not in (2, 3):
            raise ConfigError(
                f"patches of volumes have two or three sides, got {tuple(patch_size)}",
                "train other models with a data set of your own",
            )
        sides = (*patch_size, 1)[:3]
        self._sides = np.asarray(sides)
        self._flat = len(patch_size) == 2
        self._voxels = [_as_int16(v.voxels) for v in volumes]
        self._centres = [_body_centres(v, seed + i) for i, v in enumerate(self._voxels)]
        self._length = length
        self._seed = seed
        self._foreground_share = foreground_share

    @property
    def case_count(self) -> int:
        """Number of volumes that patches are cut from."""
        return len(self._voxels)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self._length:
            raise IndexError(index)
        rng = np.random.default_rng([self._seed, index])
        case = int(rng.integers(len(self._voxels)))
        corner = self._corner(case, rng)
        patch = cut(self._voxels[case], corner, self._sides)[None]
        return torch.from_numpy(patch[..., 0] if self._flat else patch)

    def _corner(self, case: int, rng: np.random.Generator) -> NDArray[np.int64]:
        shape = np.asarray(self._voxels[case].shape)
        room = shape - self._sides
        low, high = np.minimum(room, 0), np.maximum(room, 0)
        centres = self._centres[case]
        if len(centres) and rng.random() < self._foreground_share:
            corner = centres[int(rng.integers(len(centres)))] - self._sides // 2
        else:
            corner = rng.integers(low, high + 1)
        clipped: NDArray[np.int64] = np.clip(corner, low, high)
        return clipped


def cut(
    voxels: NDArray[np.int16], corner: NDArray[np.int64], sides: NDArray[np.int64]
) -> NDArray[np.int16]:
    """The box ``corner <= i < corner + sides``; what lies outside the array is air."""
    patch = np.full(sides, AIR_HU, np.int16)
    low = np.clip(corner, 0, voxels.shape)
    high = np.clip(corner + sides, low, voxels.shape)
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
    if (low < high).all():
        patch[target] = voxels[inside]
    return patch


def _as_int16(voxels: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int16]:
    if voxels.dtype == np.int16:
        return np.ascontiguousarray(voxels)
    limits = np.iinfo(np.int16)
    return np.rint(voxels).clip(limits.min, limits.max).astype(np.int16)


def _body_centres(voxels: NDArray[np.int16], seed: int) -> NDArray[np.int64]:
    flat = np.flatnonzero(voxels > BODY_ABOVE_HU)
    if len(flat) > _CENTRES_PER_CASE:
        flat = np.random.default_rng(seed).choice(flat, _CENTRES_PER_CASE, replace=False)
    return np.stack(np.unravel_index(flat, voxels.shape), axis=1).astype(np.int64)
