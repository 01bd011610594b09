"""Batches of a run for one rank."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ct_vae.batch.signals import SIGNALS
from ct_vae.datasets.patches import PatchDataset
from ct_vae.errors import ConfigError, CtVaeError, InputError
from ct_vae.training.data.order import SeededOrder
from ct_vae.training.device.augmented import DrawnPatches
from ct_vae.training.device.prefetch import prefetched
from ct_vae.training.distributed import DistributedContext

# A batch takes seconds, or minutes on a slow network disk; a longer wait means that workers hang.
_TIMEOUT_S = 600


class Batches:
    """Loads this rank's part of each global batch, in an order that depends only on the seed.

    Sample ``i`` of the run is the same for any number of ranks and workers; a rank takes one
    contiguous part of every global batch.

    Args:
        data: Patches; those of `PatchDataset` and `DrawnPatches` are indexed by their position in
            the run. If the data set has ``per_item``, that many consecutive samples belong to one
            item.
        samples: Length of the run in samples.
        batch_size: Samples of a global batch; the last batch may be smaller.
        seed: Seed of the order of other data sets.
        workers: Number of processes that prepare patches.
        world: Ranks that share a batch.

    Attributes:
        notes: Messages for the user, which the caller removes.

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
        world: DistributedContext | None = None,
    ) -> None:
        self._data = data
        self._samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._world = world or DistributedContext()
        self.notes: list[str] = []
        check_shares(samples, batch_size, self._world.size)

    def __call__(self, start: int) -> Iterator[torch.Tensor]:
        """Yield this rank's images ``(B, C, *spatial)`` from sample ``start`` of the run.

        If a worker dies, or no batch arrives within ten minutes, the rest is prepared without
        workers, with a message in `notes`.

        Raises:
            CtVaeError: If the data set raises one.
        """
        workers: list[BaseProcess] = []
        end = atexit.register(partial(_end, workers))
        try:
            yield from self._on_device(self._given(self._shares(start), workers))
        except GeneratorExit:
            atexit.unregister(end)
            raise
        # After an error, the traceback keeps the loader and its workers alive until exit.
        atexit.unregister(end)

    def _on_device(self, batches: Iterator[Any]) -> Iterator[torch.Tensor]:
        """Copy batches to the device, and augment them there if the data set says so."""
        moved = prefetched(batches, self._world.device)
        return map(self._data.images, moved) if isinstance(self._data, DrawnPatches) else moved

    def _given(self, shares: list[list[int]], workers: list[BaseProcess]) -> Iterator[Any]:
        done, lost = 0, ""
        others = active_children()
        batches = self._loaded(shares, self._workers)
        workers += [child for child in active_children() if child not in others]
        while True:
            try:
                batch = next(batches, None)
            except RuntimeError as error:
                if not (workers and str(error).startswith("DataLoader ")):
                    raise
                lost = str(error).splitlines()[0]
            # Outside the handler, whose traceback would keep the workers alive.
            if lost:
                self.notes.append(
                    f"no batch came from the processes that prepare patches ({lost}): from here on "
                    "they are prepared without; often the memory is used up: lower training.workers"
                )
                del batches
                for worker in workers:
                    worker.kill()
                    worker.join()
                workers.clear()
                lost, batches = "", self._loaded(shares[done:], 0)
                continue
            if batch is None:
                return
            if isinstance(batch, CtVaeError):
                raise batch
            yield batch
            done += 1

    def _loaded(self, shares: list[list[int]], workers: int) -> Iterator[Any]:
        data = self._data
        together = data.together if isinstance(data, DrawnPatches) else stack_images
        loader = DataLoader(
            _Caught(self._data),
            batch_sampler=shares,
            collate_fn=partial(_together_or_error, together),
            worker_init_fn=_ignore_signals,
            num_workers=workers,
            timeout=_TIMEOUT_S if workers else 0,
            pin_memory=self._world.device.type == "cuda",
            # The default generator would advance the global random state.
            generator=torch.Generator(),
        )
        return iter(loader)

    def _shares(self, start: int) -> list[list[int]]:
        numbered = isinstance(self._data, PatchDataset | DrawnPatches)
        order = range(start, self._samples) if numbered else self._shuffled(start)
        shares = []
        for first in range(0, len(order), self._batch_size):
            whole = order[first : first + self._batch_size]
            own = len(whole) // self._world.size
            shares.append(list(whole[self._world.rank * own : (self._world.rank + 1) * own]))
        return shares

    def _shuffled(self, start: int) -> Sequence[int]:
        """Return the indices in random order, with consecutive samples of each item."""
        per_item = getattr(self._data, "per_item", 1)
        size = len(self._data) // per_item  # type: ignore[arg-type]
        items = -(-self._samples // per_item)
        order = SeededOrder(size, items, self._seed, start // per_item)
        places = [item * per_item + sample for item in order for sample in range(per_item)]
        skipped = start % per_item
        return places[skipped : skipped + self._samples - start]


def check_shares(samples: int, batch_size: int, ranks: int) -> None:
    """Check that ranks can share all batches evenly.

    Raises:
        ConfigError: If a batch size is not a multiple of the number of ranks.
    """
    last = samples % batch_size
    if batch_size % ranks or last % ranks:
        raise ConfigError(
            f"training.batch_size {batch_size} and a last batch of {last} are not multiples of "
            f"{ranks} ranks",
            "choose batch_size and samples that are",
        )


class _Caught(Dataset[Any]):
    """Data set that returns its errors, which would leave a worker as a traceback otherwise."""

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Any:
        try:
            return self._data[index]
        except CtVaeError as error:
            return error


def _together_or_error(together: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Any:
    """Collate items, or return the first error."""
    errors = [item for item in items if isinstance(item, CtVaeError)]
    try:
        return errors[0] if errors else together(items)
    except CtVaeError as error:
        return error


def _ignore_signals(_: int) -> None:
    # Batch systems signal all processes of a group; the main process ends its workers itself.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(workers: list[BaseProcess]) -> None:
    """Kill workers that are left at exit, for example if a traceback keeps their loader alive.

    The main process would wait for them, and they ignore other signals.
    """
    # PyTorch would raise an error about a dead worker.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in workers:
        worker.kill()


def stack_images(items: Sequence[Any]) -> torch.Tensor:
    """Collate items of a data set to ``(B, C, *spatial)``.

    Raises:
        InputError: If an item is not a tensor, or if shapes differ.
    """
    images = [item.get("image") if isinstance(item, Mapping) else item for item in items]
    kinds = sorted({type(image).__name__ for image in images if not torch.is_tensor(image)})
    if kinds:
        raise InputError(f"data sets give tensors or dictionaries with 'image', got {kinds}")
    # Patches do not need the geometry of a MetaTensor.
    plain = [image.as_subclass(torch.Tensor) for image in images if image is not None]
    shapes = {tuple(image.shape) for image in plain}
    if len(shapes) > 1:
        raise InputError(f"one batch holds images of different shapes: {sorted(shapes)}")
    dtypes = {image.dtype for image in plain}
    return torch.stack(plain if len(dtypes) == 1 else [image.float() for image in plain])
