"""Accumulation of errors per window and mask, clipped to the window or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.error_tally import FloatTally, WholeTally
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.windows import Window
from ct_vae.masks import BoolArray, Mask

Tally = WholeTally | FloatTally
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class Where:
    """Selection of voxels for the errors in a window.

    Attributes:
        mask: Mask of the voxels.
        in_window: True to use only voxels whose original value is inside the window, without
            clipping; otherwise both volumes are clipped to the window.
    """

    mask: Mask
    in_window: bool = False


def tally_errors(
    pair: Pair, windows: Sequence[Window], places: Sequence[Where], slab_voxels: int
) -> list[list[Tally]]:
    """Accumulate the errors of a pair for each window and selection, in one pass.

    Raises:
        InputError: If a value is not finite.
    """
    reference, result = pair.images
    whole = reference.dtype == result.dtype == np.int16
    workers = [_worker(window, len(places), whole) for window in windows]
    masks = [pair.slices(place.mask.voxels) for place in places]
    for part in pair.slabs(slab_voxels):
        inside = [_chosen(mask[part]) for mask in masks]
        slab = (reference[part], result[part])
        if not whole:
            _check_finite(slab)
        for worker in workers:
            worker.add(slab, [(m, p.in_window) for m, p in zip(inside, places, strict=True)])
    return [worker.tallies for worker in workers]


def _chosen(mask: BoolArray) -> BoolArray | None:
    """Return the mask, or ``None`` if it contains all voxels."""
    return None if mask.all() else mask


def _check_finite(slab: Sequence[NDArray[Any]]) -> None:
    if not all(np.isfinite(part).all() for part in slab):
        raise InputError("a volume holds values that are not finite numbers")


class _Errors:
    """Errors of one window, computed in ``dtype``."""

    def __init__(self, low: float, high: float, dtype: type[Any], tallies: list[Any]) -> None:
        self.low, self.high, self.dtype, self.tallies = low, high, dtype, tallies
        self.factor = 1

    def add(
        self,
        slab: tuple[NDArray[Any], NDArray[Any]],
        places: Sequence[tuple[BoolArray | None, bool]],
    ) -> None:
        a, b = (np.multiply(part, self.factor, dtype=self.dtype) for part in slab)
        inner = None
        if any(in_window for _, in_window in places):
            inner = (a >= self.low) & (a <= self.high)
            error = b - a
        if not all(in_window for _, in_window in places):
            clipped = b.clip(self.low, self.high)
            clipped -= a.clip(self.low, self.high)
        for tally, (mask, in_window) in zip(self.tallies, places, strict=True):
            if in_window:
                assert inner is not None
                tally.add(error[inner if mask is None else inner & mask])
            else:
                tally.add(clipped if mask is None else clipped[mask])


def _worker(window: Window, places: int, whole: bool) -> _Errors:
    low, high = window.low, window.high
    doubled = (2 * low).is_integer() and (2 * high).is_integer()
    if not (whole and doubled):
        return _Errors(low, high, np.float64, [FloatTally() for _ in range(places)])
    factor = 1 if low.is_integer() and high.is_integer() else 2
    bounds = [int(min(max(v, _INT16.min), _INT16.max) * factor) for v in (low, high)]
    tallies = [WholeTally(1 / factor) for _ in range(places)]
    worker = _Errors(bounds[0], bounds[1], np.int32, tallies)
    worker.factor = factor
    return worker
