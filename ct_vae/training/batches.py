"""The batches of a run, as this rank sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ct_vae.datasets.order import SeededOrder
from ct_vae.datasets.patches import PatchDataset
from ct_vae.errors import ConfigError, InputError
from ct_vae.training.distributed import World


class Batches:
    """Shares of global batches, in the one order that the seed decides.

    Sample number ``i`` of the run is the same whatever the number of ranks and workers; a rank
    takes one contiguous part of every global batch.

    Args:
        data: Patches; those of a `PatchDataset` are numbered by their place in the run.
        samples: Length of the run.
        batch_size: Samples of a global batch; the last batch may be smaller.
        seed: Of the order of other data.
        workers: Processes that prepare patches.
        world: Ranks that share a batch.

    Attributes:
        waited_s: Seconds spent waiting for data so far.

    Raises:
        ConfigError: If the ranks cannot share the batches evenly.
    """

    def __init__(
        self,
        data: Dataset[Any],
        samples: int,
        batch_size: int,
        seed: int,
        workers: int = 0,
        world: World | None = None,
    ) -> None:
        self._data = data
        self._samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._world = world or World()
        self.waited_s = 0.0
        last = samples % batch_size
        if batch_size % self._world.size or last % self._world.size:
            raise ConfigError(
                f"training.batch_size {batch_size} and a last batch of {last} are not multiples of "
                f"{self._world.size} ranks",
                "choose batch_size and samples that are",
            )

    def __call__(self, start: int) -> Iterator[torch.Tensor]:
        """This rank's images ``(B, C, *spatial)`` from sample ``start`` of the run on."""
        cuda = self._world.device.type == "cuda"
        loader = DataLoader(
            self._data,
            batch_sampler=self._shares(start),
            collate_fn=stack_images,
            num_workers=self._workers,
            pin_memory=cuda,
            # Without one of its own it would draw from the caller's random state.
            generator=torch.Generator(),
        )
        batches = iter(loader)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - began
            if batch is None:
                return
            yield batch.to(self._world.device, non_blocking=cuda)

    def _shares(self, start: int) -> list[list[int]]:
        order: Sequence[int] = range(start, self._samples)
        if not isinstance(self._data, PatchDataset):
            size = len(self._data)  # type: ignore[arg-type]
            order = list(SeededOrder(size, self._samples, self._seed, start))
        shares = []
        for first in range(0, len(order), self._batch_size):
            whole = order[first : first + self._batch_size]
            own = len(whole) // self._world.size
            shares.append(list(whole[self._world.rank * own : (self._world.rank + 1) * own]))
        return shares


def stack_images(items: Sequence[Any]) -> torch.Tensor:
    """Collate items of a data set to ``(B, C, *spatial)``.

    Raises:
        InputError: If an item is no tensor, or if shapes differ.
    """
    images = [item.get("image") if isinstance(item, Mapping) else item for item in items]
    kinds = sorted({type(image).__name__ for image in images if not torch.is_tensor(image)})
    if kinds:
        raise InputError(f"data sets give tensors or dictionaries with 'image', got {kinds}")
    # The geometry that a MetaTensor carries is of no use to a patch.
    plain = [image.as_subclass(torch.Tensor) for image in images if image is not None]
    shapes = {tuple(image.shape) for image in plain}
    if len(shapes) > 1:
        raise InputError(f"one batch holds images of different shapes: {sorted(shapes)}")
    dtypes = {image.dtype for image in plain}
    return torch.stack(plain if len(dtypes) == 1 else [image.float() for image in plain])
