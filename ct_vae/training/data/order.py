"""Order of the samples of a run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class SeededOrder(Sampler[int]):
    """Shuffled passes over ``size`` items, ``samples`` in total.

    Pass ``p`` is a permutation drawn from ``(seed, p)``, so that any position of the run is known
    without the positions before it.

    Args:
        size: Number of items in the data set.
        samples: Number of samples in the run.
        seed: Seed of all permutations.
        start: Position in the run to start from.
    """

    def __init__(self, size: int, samples: int, seed: int, start: int = 0) -> None:
        self._size = size
        self._samples = samples
        self._seed = seed
        self._start = start

    def __len__(self) -> int:
        return self._samples - self._start

    def __iter__(self) -> Iterator[int]:
        place = self._start
        while place < self._samples:
            number, inside = divmod(place, self._size)
            order = np.random.default_rng([self._seed, number]).permutation(self._size)
            last = min(self._size, inside + self._samples - place)
            yield from order[inside:last].tolist()
            place += last - inside
