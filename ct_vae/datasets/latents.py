"""Dataset of stored latents, for training of diffusion models and other networks on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ct_vae.errors import ConfigError, InputError
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.io import read_latent
from ct_vae.io.latent.record import load_record, record_path
from ct_vae.latent import Latent, LatentRecord

Sides = tuple[int, int, int]


class LatentDataset(Dataset[dict[str, Any]]):
    """Normalized latents, whole or in random crops, read on access.

    All latents must come from the same encoder. They are normalized per channel by their pooled
    mean and standard deviation, which the records hold. Random numbers are drawn from the global
    generator of torch, which a ``DataLoader`` seeds in each worker and epoch.

    Args:
        paths: Files, folders and glob patterns of latents in any form.
        size: Sides of random crops in latent voxels; ``None`` (the default) returns whole latents.
        align: Multiple of latent voxels at which crops start; defaults to 1. Any crop is the
            latent of a block of whole CT voxels, because each latent voxel is.
        flip_axes: Axes, 0 to 2, along which a latent is flipped with probability 1/2. The latent of
            a flipped CT is only approximately the flipped latent, so flips are returned.
        sample: Draw a new sample of the posterior on each access. Needs latents that were encoded
            with ``--posterior``.
        normalize: If false, values are returned as stored.

    Attributes:
        cases: Latents in the order of the indices.
        mean: Pooled mean of each channel ``(C,)`` in float32.
        std: Pooled standard deviation of each channel ``(C,)`` in float32.

    Raises:
        NoInputError: If there is no latent.
        ConfigError: If an option is out of range, or ``sample`` is set without standard deviations.
        InputError: If a record is damaged, latents are codes or of different encoders, or a latent
            is smaller than ``size``.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> dataset = LatentDataset(["latents"], size=(8, 8, 8), flip_axes=(0,))  # doctest: +SKIP
        >>> batch = next(iter(DataLoader(dataset, batch_size=2, shuffle=True)))  # doctest: +SKIP
        >>> batch["latent"].shape  # doctest: +SKIP
        torch.Size([2, 4, 8, 8, 8])
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        size: Sides | None = None,
        *,
        align: int = 1,
        flip_axes: Sequence[int] = (),
        sample: bool = False,
        normalize: bool = True,
    ) -> None:
        if align < 1 or (size is not None and (len(size) != 3 or min(size) < 1)):
            raise ConfigError(f"size and align are positive, got {size} and {align}")
        if not set(flip_axes) <= {0, 1, 2}:
            raise ConfigError(f"flip_axes are among 0, 1 and 2, got {tuple(flip_axes)}")
        self.size = size
        self.align = align
        self.flip_axes = tuple(sorted(set(flip_axes)))
        self.sample = sample
        self.normalize = normalize
        self.cases: list[Case] = discover(paths, latents=True, unique=False)
        records = [_record(case) for case in self.cases]
        for case, record in zip(self.cases, records, strict=True):
            self._check(case, record, records[0])
        self.mean, self.std = _pooled(records)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one latent.

        Returns:
            Dictionary with ``latent`` ``(C, x, y, z)`` in float32; ``start``, the first voxel of
            the crop in the stored latent; ``flips``, a boolean for each axis; ``affine`` from
            voxels of the returned latent to RAS+ in mm; and ``key``, the path of the latent without
            suffix.

        Raises:
            InputError: If the file is damaged.
        """
        latent = read_latent(self.cases[index].path)
        values = self._values(latent)
        shape = (values.shape[1], values.shape[2], values.shape[3])
        size = self.size or shape
        start = [self._start(side, wanted) for side, wanted in zip(shape, size, strict=True)]
        for axis, (first, side) in enumerate(zip(start, size, strict=True)):
            values = values.narrow(axis + 1, first, side)
        flips = [axis in self.flip_axes and bool(torch.rand(()) < 0.5) for axis in range(3)]
        values = values.flip([axis + 1 for axis in range(3) if flips[axis]])
        if self.normalize:
            values = (values - self.mean.view(-1, 1, 1, 1)) / self.std.view(-1, 1, 1, 1)
        return {
            "latent": values.contiguous(),
            "start": torch.tensor(start),
            "flips": torch.tensor(flips),
            "affine": torch.from_numpy(_affine(latent, start, size, flips)),
            "key": self.cases[index].key,
        }

    def denormalize(self, latent: torch.Tensor) -> torch.Tensor:
        """Undo the normalization of latents ``(..., C, x, y, z)``, for decoding."""
        if not self.normalize:
            return latent
        shape = (-1, 1, 1, 1)
        std, mean = (each.to(latent).view(shape) for each in (self.std, self.mean))
        return latent * std + mean

    def _values(self, latent: Latent) -> torch.Tensor:
        mean = torch.from_numpy(latent.array)
        if not self.sample:
            return mean
        assert latent.std is not None
        return mean + torch.from_numpy(latent.std) * torch.randn(mean.shape)

    def _start(self, side: int, wanted: int) -> int:
        places = (side - wanted) // self.align + 1
        return self.align * int(torch.randint(places, ()))

    def _check(self, case: Case, record: LatentRecord, first: LatentRecord) -> None:
        if record.kind == "codes" or record.statistics is None:
            raise InputError(
                f"{case.path}: is a latent of codes, which cannot be normalized",
                "give latents of a KL model",
            )
        if not record.model.encodes_as(first.model):
            raise InputError(
                f"{case.path}: was encoded by {record.model.name!r}, and {self.cases[0].path} by "
                f"{first.model.name!r}",
                "give latents of one model",
            )
        if self.sample and not record.posterior:
            raise ConfigError(
                f"{case.path}: has no standard deviations for sampling",
                "encode with --posterior, or leave sample out",
            )
        shape = record.latent_grid().shape
        if self.size and any(s < n for s, n in zip(shape, self.size, strict=True)):
            raise InputError(
                f"{case.path}: has {shape} voxels, fewer than the size {self.size}",
                "choose a smaller size, or leave this latent out",
            )


def _record(case: Case) -> LatentRecord:
    """Return the record of a latent; values are read only if the record is missing."""
    record = load_record(record_path(case.path))
    return read_latent(case.path).record if record is None else record


def _pooled(records: Sequence[LatentRecord]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and standard deviation of each channel over all latents."""
    found = [each.statistics for each in records if each.statistics]
    counts = np.array([math.prod(each.latent_grid().shape) for each in records], dtype=np.float64)
    weights = (counts / counts.sum())[:, np.newaxis]
    means = np.array([each.mean for each in found])
    mean = (weights * means).sum(axis=0)
    variances = np.square([each.std for each in found]) + np.square(means - mean)
    std = np.sqrt((weights * variances).sum(axis=0))
    # A channel that never changes is centered only.
    std[std == 0] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


def _affine(
    latent: Latent, start: Sequence[int], size: Sequence[int], flips: Sequence[bool]
) -> np.ndarray:
    inner = np.eye(4)
    for axis in range(3):
        if flips[axis]:
            inner[axis, axis] = -1.0
        inner[axis, 3] = start[axis] + (size[axis] - 1 if flips[axis] else 0)
    affine: np.ndarray = latent.grid.affine @ inner
    return affine
