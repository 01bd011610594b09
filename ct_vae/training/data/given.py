"""Data sets given in Python: their images, and checks before a run."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from ct_vae.errors import InputError
from ct_vae.io.hounsfield.hu_check import implausibility
from ct_vae.io.hounsfield.padding import replace_padding
from ct_vae.training.data.images import ImageReader
from ct_vae.volume import Volume

ValidationCase = Callable[[], Volume | torch.Tensor]
_FIRST_ITEMS = 8
# Number of further items, spread over the data set, if the first ones are only air.
_MORE_ITEMS = 32
# Largest number of values to check of one image.
_MOST_VALUES = 1 << 19
_HINT = (
    "give values in HU: model units are made of them by preprocess.window_hu and "
    "preprocess.model_range; if they are HU all the same, force=True takes them"
)


class ImageDataset(Dataset[torch.Tensor]):
    """The images of a data set, with each sample of an item as a separate item.

    Args:
        data: Data set with ``__len__`` and ``__getitem__``.
        reader: Reads the images of an item.
        per_item: Samples of every item, as in lists of random crops.

    Attributes:
        per_item: Samples of every item.
    """

    def __init__(self, data: Any, reader: ImageReader, per_item: int = 1) -> None:
        self.data = data
        self.per_item = per_item
        self._reader = reader
        # Remaining samples of the last item, by number.
        self._left: tuple[int, dict[int, torch.Tensor]] = (-1, {})

    def __len__(self) -> int:
        return self.item_count * self.per_item

    @property
    def item_count(self) -> int:
        """Number of items."""
        return len(self.data)

    def __getitem__(self, index: int) -> torch.Tensor:
        item, sample = divmod(index, self.per_item)
        if item != self._left[0] or sample not in self._left[1]:
            images = self._reader(self.data[item])
            if len(images) != self.per_item:
                raise InputError(
                    f"item {item} of the data set is a list of {len(images)} samples, and the "
                    f"first item has {self.per_item}",
                    "give all items the same number of samples",
                )
            self._left = item, dict(enumerate(images))
        return self._left[1].pop(sample)


@contextmanager
def restored_randomness(seed: int | None = None) -> Iterator[None]:
    """Restore the global random states of Python, NumPy and PyTorch afterwards.

    Args:
        seed: Seed to set inside; ``None`` leaves the states as they are.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's own
    try:
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
                torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class FirstImages:
    """Properties of the images of a data set, from its first items.

    Global random states are restored, so that the run does not depend on these checks.

    Args:
        data: The data set.
        reader: Reads the images of an item.
        name: Name of the data set in messages.

    Attributes:
        per_item: Samples of the first item.
        sizes: Sides of the images of the first items.
        finite: True if all their values are finite.

    Raises:
        InputError: If the data set has no items or no length, or an item holds no image.
    """

    def __init__(self, data: Any, reader: ImageReader, name: str) -> None:
        check_countable(data, name)
        self._data, self._reader, self._name = data, reader, name
        self.sizes: list[tuple[int, ...]] = []
        self.finite = True
        self.per_item = 0
        self._values = self._look(range(min(_FIRST_ITEMS, len(data))))

    @property
    def size(self) -> tuple[int, ...]:
        """Sides of the largest image."""
        return max(self.sizes, key=math.prod)

    def problem(self) -> InputError | None:
        """Return an error if the values are not CT in HU, or ``None``."""
        if not self.finite:
            # Training skips and counts steps that are not finite.
            return None
        problem = _implausible(self._values, excerpt=True)
        if problem is None and _implausible(self._values, excerpt=False) is not None:
            # The first random crops may be only air.
            first, count = min(_FIRST_ITEMS, len(self._data)), len(self._data)
            step = max(1, (count - first) // _MORE_ITEMS)
            self._values += self._look(range(first, count, step)[:_MORE_ITEMS])
            problem = _implausible(self._values, excerpt=False) if self.finite else None
        if problem is None:
            return None
        seen = f"in {len(self._values)} of its images"
        return InputError(f"the {self._name} data set {problem.cause} ({seen})", _HINT)

    def _look(self, places: range) -> list[torch.Tensor]:
        """Sample the values of some items."""
        values = []
        with restored_randomness():
            for place in places:
                images = self._reader(self._data[place])
                self.per_item = self.per_item or len(images)
                for image in images:
                    self.finite &= bool(torch.isfinite(image).all())
                    self.sizes.append(tuple(image.shape[1:]))
                    flat = image.reshape(-1)
                    values.append(flat[:: max(1, len(flat) // _MOST_VALUES)].cpu().float())
        return values


def check_countable(data: Any, name: str) -> None:
    """Raise an error for a data set without a length or without items.

    Args:
        data: The data set.
        name: Name in messages, such as ``training``.

    Raises:
        InputError: If the data set has no length, no items, or no access by index.
    """
    kind = type(data).__name__
    if isinstance(data, IterableDataset) or not (
        hasattr(data, "__len__") and hasattr(data, "__getitem__")
    ):
        raise InputError(
            f"the {name} data set is {kind}, which does not tell how many items it has, or gives "
            "none by number",
            "give one with __len__ and __getitem__; the items of an iterable one can be put into "
            "a list",
        )
    if len(data) == 0:
        raise InputError(f"the {name} data set has no items", "give a data set with items")


@dataclass(frozen=True, eq=False)
class ValidationData:
    """A validation data set.

    Attributes:
        cases: Each returns a whole volume, or a patch ``[C, *spatial]`` in HU.
        patches: True if they are patches.
        problem: Reason why the first ones are not in HU, or ``None``.
    """

    cases: Sequence[ValidationCase]
    patches: bool = False
    problem: InputError | None = None


def validation_data(data: Any, reader: ImageReader) -> ValidationData:
    """Check the first items of a validation data set and return its cases.

    Random data sets return the same patches in every validation, since each case has a fixed seed.

    Args:
        data: Volumes or patches by index.
        reader: Reads the images of an item.

    Raises:
        InputError: If items are neither volumes nor patches, or of several kinds.
    """
    check_countable(data, "validation")
    with restored_randomness():
        first = data[0]
    if isinstance(first, Volume):
        return ValidationData(_volumes(data), False, volume_problem(first, "validation"))
    looked = FirstImages(data, reader, "validation")
    if not looked.finite:
        raise InputError(
            "the validation data set has values that are not finite", "leave such items out"
        )
    images = ImageDataset(data, reader, looked.per_item)
    cases = [partial(_drawn, images, place) for place in range(len(images))]
    return ValidationData(cases, True, looked.problem())


def _drawn(images: ImageDataset, place: int) -> torch.Tensor:
    with restored_randomness(place // images.per_item):
        return images[place]


def _volumes(volumes: Sequence[Volume]) -> list[ValidationCase]:
    # A sequence that reads its volumes need not keep all of them in memory.
    kinds = (type(volumes[place]) for place in range(len(volumes)))
    strange = sorted({kind.__name__ for kind in kinds if not issubclass(kind, Volume)})
    if strange:
        raise InputError(
            f"a validation data set that begins with a volume gives {', '.join(strange)} as well",
            "give volumes alone, or patches alone",
        )
    return [partial(volumes.__getitem__, place) for place in range(len(volumes))]


def volume_problem(volume: Volume, name: str) -> InputError | None:
    """Return the reason why the first volume of a data set is not in HU, or ``None``.

    Args:
        volume: The volume; it is left as it is.
        name: Name of the data set, such as ``validation``.
    """
    voxels = volume.voxels.copy()
    problem = implausibility(voxels, replace_padding(voxels))
    if problem is None:
        return None
    return InputError(f"the first {name} volume {problem.cause}", _HINT)


def _implausible(values: Sequence[torch.Tensor], *, excerpt: bool) -> InputError | None:
    # Padding is replaced in place, in the copy that `cat` makes.
    joined = torch.cat(list(values)).numpy()
    return implausibility(joined, replace_padding(joined), excerpt=excerpt) if joined.size else None
