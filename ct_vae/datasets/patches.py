"""Data set of random patches; each patch depends only on the seed and its index in the run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ct_vae.config.data import AugmentConfig
from ct_vae.datasets.augment import Augmentation, Cut, DrawnPatch, IntArray
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.resize import resize
from ct_vae.errors import ConfigError, InputError
from ct_vae.volume import AIR_HU

_CENTERS_PER_CASE = 50_000
# The centers of a case take 200 kB in each worker.
_CASES_WITH_CENTERS = 256


class PatchDataset(Dataset[torch.Tensor]):
    """Random patches ``(1, *patch_size)`` in HU: int16, or float32 depending on the augmentation.

    A patch is centered on a body voxel, from a fixed random choice for each case, or at a random
    position. Voxels outside the volume are air.

    Args:
        volumes: Oriented volumes, sampled by their weights; with two sides in ``patch_size``,
            patches are axial slices.
        patch_size: Size of a patch in voxels.
        length: Number of patches of the whole run.
        seed: Seed that determines a patch together with its index.
        foreground_share: Fraction of patches centered on a voxel above -500 HU.
        augment: Augmentation; ``None`` for none.
        resize_to: Size to which patches are resized, as float32.

    Attributes:
        flat: True if patches are axial slices.
        sides: Size of a patch along three axes.
        seed: As given.

    Raises:
        InputError: If ``volumes`` is empty.
        ConfigError: If ``patch_size`` does not have two or three values.
    """

    def __init__(
        self,
        volumes: Sequence[StoredVolume],
        patch_size: Sequence[int],
        length: int,
        seed: int,
        foreground_share: float,
        augment: AugmentConfig | None = None,
        resize_to: Sequence[int] | None = None,
    ) -> None:
        if not volumes:
            raise InputError("training needs at least one volume")
        if len(patch_size) not in (2, 3):
            raise ConfigError(
                f"patches of volumes have two or three sides, got {tuple(patch_size)}",
                "train other models with a data set of your own",
            )
        self.flat = len(patch_size) == 2
        self.sides = np.asarray((*patch_size, 1)[:3])
        self._volumes = tuple(volumes)
        self._length = length
        self.seed = seed
        self._foreground_share = foreground_share
        self._augmentation = Augmentation(augment or AugmentConfig(), self.flat)
        self._resize_to = resize_to
        weights = np.array([volume.weight for volume in volumes])
        # Equal weights give the same random numbers as no weights.
        self._chances = np.cumsum(weights / weights.sum()) if np.ptp(weights) > 0 else None

    @property
    def case_count(self) -> int:
        """Number of volumes that patches are cut from."""
        return len(self._volumes)

    @property
    def spacings_mm(self) -> tuple[tuple[float, float, float], ...]:
        """Spacing of each volume."""
        return tuple(volume.spacing_mm for volume in self._volumes)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> torch.Tensor:
        patch = self._augmentation(*self._place(index))[None]
        image = patch[..., 0] if self.flat else patch
        return image if self._resize_to is None else resize(image.float(), self._resize_to)

    @property
    def can_be_drawn(self) -> bool:
        """True if patches are augmented such that doing it on a GPU is worthwhile and possible."""
        return self._augmentation.makes_floats and self._resize_to is None

    def drawn(self, index: int) -> DrawnPatch:
        """Return what a patch is sampled from, with three axes, and its augmentation.

        Without noise, the result is the patch of that index in `DrawnPatch.patch`.
        """
        return self._augmentation.draw(*self._place(index))

    def _place(
        self, index: int
    ) -> tuple[Cut, IntArray, IntArray, tuple[float, float, float], np.random.Generator]:
        """Draw the place of a patch; return the arguments of its augmentation."""
        if not 0 <= index < self._length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, index])
        case = self._case(rng)
        corner = self._corner(case, rng)
        volume = self._volumes[case]
        return partial(cut, volume), corner, self.sides, volume.spacing_mm, rng

    def _case(self, rng: np.random.Generator) -> int:
        last = len(self._volumes) - 1
        if self._chances is None:
            return int(rng.integers(last + 1))
        return min(last, int(np.searchsorted(self._chances, rng.random(), side="right")))

    def _corner(self, case: int, rng: np.random.Generator) -> NDArray[np.int64]:
        volume = self._volumes[case]
        room = np.asarray(volume.shape) - self.sides
        low, high = np.minimum(room, 0), np.maximum(room, 0)
        count = volume.body_count
        if count and rng.random() < self._foreground_share:
            rank = int(rng.integers(min(count, _CENTERS_PER_CASE)))
            if count > _CENTERS_PER_CASE:
                rank = int(_chosen_centers(count, self.seed + case)[rank])
            corner = volume.body_voxel(rank) - self.sides // 2
        else:
            corner = rng.integers(low, high + 1)
        clipped: NDArray[np.int64] = np.clip(corner, low, high)
        return clipped


def cut(
    volume: StoredVolume, corner: NDArray[np.int64], sides: NDArray[np.int64]
) -> NDArray[np.int16]:
    """Return the box ``corner <= i < corner + sides``, with air outside the volume.

    Raises:
        InputError: If the volume is in a file that can no longer be read.
    """
    low = np.clip(corner, 0, volume.shape)
    high = np.clip(corner + sides, low, volume.shape)
    if not (low < high).all():
        return np.full(sides, AIR_HU, np.int16)
    (a, b, c), (d, e, f) = low.tolist(), high.tolist()
    box = volume.box((a, b, c), (d, e, f))
    if box.shape == tuple(sides):
        # Boxes of volumes in memory are views, and patches are not.
        return box if box.flags.owndata else box.copy()
    patch = np.full(sides, AIR_HU, np.int16)
    patch[tuple(map(slice, low - corner, high - corner))] = box
    return patch


@lru_cache(maxsize=_CASES_WITH_CENTERS)
def _chosen_centers(count: int, seed: int) -> NDArray[np.int32]:
    """Return the ranks of the body voxels on which patches of a case may be centered."""
    chosen = np.random.default_rng(seed).choice(count, _CENTERS_PER_CASE, replace=False)
    return chosen.astype(np.int32)
