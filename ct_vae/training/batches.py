"""The batches of a run, as this rank sees them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ct_vae.datasets.order import SeededOrder
from ct_vae.datasets.patches import PatchDataset
from ct_vae.errors import ConfigError, CtVaeError, InputError
from ct_vae.training.distributed import World
from ct_vae.training.stop import SIGNALS


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
        check_shares(samples, batch_size, self._world.size)

    def __call__(self, start: int) -> Iterator[torch.Tensor]:
        """This rank's images ``(B, C, *spatial)`` from sample ``start`` of the run on.

        Raises:
            CtVaeError: As the data set raises it, or if a worker process has died.
        """
        cuda = self._world.device.type == "cuda"
        loader = DataLoader(
            _Caught(self._data),
            batch_sampler=self._shares(start),
            collate_fn=_stack_or_tell,
            worker_init_fn=_heed_the_trainer,
            num_workers=self._workers,
            pin_memory=cuda,
            # Without one of its own it would draw from the caller's random state.
            generator=torch.Generator(),
        )
        batches = iter(loader)
        while True:
            try:
                batch = next(batches, None)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise CtVaeError(
                    f"a process that prepares patches has died: {str(error).splitlines()[0]}",
                    "often the memory is used up: lower training.workers",
                ) from error
            if batch is None:
                return
            if isinstance(batch, CtVaeError):
                raise batch
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


def check_shares(samples: int, batch_size: int, ranks: int) -> None:
    """Refuse batches that ranks cannot share evenly.

    Raises:
        ConfigError: With the numbers.
    """
    last = samples % batch_size
    if batch_size % ranks or last % ranks:
        raise ConfigError(
            f"training.batch_size {batch_size} and a last batch of {last} are not multiples of "
            f"{ranks} ranks",
            "choose batch_size and samples that are",
        )


class _Caught(Dataset[Any]):
    """A data set whose refusals come out of a worker as they are, not as a traceback."""

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Any:
        try:
            return self._data[index]
        except CtVaeError as error:
            return error


def _stack_or_tell(items: Sequence[Any]) -> torch.Tensor | CtVaeError:
    told = [item for item in items if isinstance(item, CtVaeError)]
    try:
        return told[0] if told else stack_images(items)
    except CtVaeError as error:
        return error


def _heed_the_trainer(_: int) -> None:
    """Let only the process that trains end a worker.

    Batch systems send their signals to every process of a group. A worker that ignored them all
    would outlast a trainer that fails, which waits for its workers at its very end.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_end_when_told, args=(os.getppid(),), daemon=True).start()


def _end_when_told(by: int) -> None:
    while signal.sigwaitinfo(SIGNALS).si_pid != by:
        pass
    os._exit(0)


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
