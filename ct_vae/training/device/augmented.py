"""Augmentation of patches on the device of the network, from boxes that the host has cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Self, TypeGuard

import torch
from torch.utils.data import Dataset

from ct_vae.datasets.augment import DrawnPatch
from ct_vae.datasets.patches import PatchDataset
from ct_vae.training.device.philox import normal_numbers

# Random stream of a sample, apart from those of its latent.
_NOISE = 4
_NOTHING = torch.empty(0)


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """Batch of patches before their augmentation: two tensors, and numbers on the host.

    Attributes:
        voxels: HU of all boxes one after the other, int16.
        steps: Sampling positions of all resampled patches one after the other, ``(N, 3)``.
        shapes: Shape of each box.
        sides: Size of a patch along each axis.
        resampled: True for each patch that is sampled from its box.
        patches: Flips and noise of each patch, without its voxels and positions.
        index: Index of the first patch in the run; the others follow it.
    """

    voxels: torch.Tensor
    steps: torch.Tensor
    shapes: Sequence[tuple[int, ...]]
    sides: tuple[int, ...]
    resampled: Sequence[bool]
    patches: Sequence[DrawnPatch]
    index: int

    @classmethod
    def of(cls, items: Sequence[tuple[int, DrawnPatch]], sides: Sequence[int]) -> Self:
        """Put consecutive patches of the size ``sides`` together, with their indices in the run."""
        patches, first = [patch for _, patch in items], items[0][0]
        assert [index for index, _ in items] == list(range(first, first + len(items)))
        steps = [each for patch in patches for each in patch.steps or ()]
        return cls(
            torch.cat([patch.box.reshape(-1) for patch in patches]),
            torch.cat(steps) if steps else torch.empty(0, 3),
            [tuple(patch.box.shape) for patch in patches],
            tuple(int(n) for n in sides),
            [patch.steps is not None for patch in patches],
            [replace(patch, box=_NOTHING, steps=None) for patch in patches],
            first,
        )

    def pin_memory(self) -> Self:
        """Return a copy in pinned memory, as PyTorch's loader asks for."""
        return replace(self, voxels=self.voxels.pin_memory(), steps=self.steps.pin_memory())

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Self:
        """Return a copy on a device."""
        voxels, steps = (t.to(device, non_blocking=non_blocking) for t in (self.voxels, self.steps))
        return replace(self, voxels=voxels, steps=steps)

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until a stream has used it."""
        for tensor in (self.voxels, self.steps):
            tensor.record_stream(stream)

    def images(self, seed: int) -> torch.Tensor:
        """Apply the augmentation, on the device of the batch.

        Noise is a function of the seed and a patch's index, and the same on all devices up to
        rounding, but not that which `PatchDataset` draws.

        Args:
            seed: Seed of the run.

        Returns:
            Patches ``(B, 1, *sides)`` in HU, float32.
        """
        boxes = torch.split(self.voxels, [prod(shape) for shape in self.shapes])
        steps = iter(torch.split(self.steps, list(self.sides) * sum(self.resampled)))
        images = []
        for i, patch in enumerate(self.patches):
            positions = (next(steps), next(steps), next(steps)) if self.resampled[i] else None
            whole = replace(patch, box=boxes[i].view(self.shapes[i]), steps=positions)
            images.append(whole.patch().to(torch.float32)[None])
        if any(patch.sigma > 0 for patch in self.patches):
            shape = (len(images), *images[0].shape)
            noise = normal_numbers(shape, seed, self.index, _NOISE, self.voxels.device)
            # The strengths are arguments of kernels; a tensor of them would have to be copied.
            strengths = [patch.sigma for patch in self.patches]
            images = [a + s * b for a, s, b in zip(images, strengths, noise, strict=True)]
        return torch.stack(images)


class DrawnPatches(Dataset[tuple[int, DrawnPatch]]):
    """Patches of a data set with their index, before their augmentation.

    Args:
        data: Data set whose patches can be drawn.
    """

    def __init__(self, data: PatchDataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[int, DrawnPatch]:
        return index, self._data.drawn(index)

    def together(self, items: Sequence[tuple[int, DrawnPatch]]) -> DrawnBatch:
        """Collate patches."""
        return DrawnBatch.of(items, self._data.sides.tolist())

    def images(self, batch: DrawnBatch) -> torch.Tensor:
        """Augment a batch; return images ``(B, 1, *patch_size)`` in HU, float32."""
        images = batch.images(self._data.seed)
        return images[..., 0] if self._data.flat else images


def drawn_patches(data: Dataset[Any]) -> Dataset[Any]:
    """Return the patches of a data set before their augmentation, if it has any, else the set."""
    return DrawnPatches(data) if is_drawable(data) else data


def is_drawable(data: Dataset[Any]) -> TypeGuard[PatchDataset]:
    """Return true if patches can be augmented on the device, and have an augmentation."""
    return isinstance(data, PatchDataset) and data.can_be_drawn
