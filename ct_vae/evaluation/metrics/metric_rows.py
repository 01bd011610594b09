"""Errors of a reconstruction in Hounsfield units, per window and mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.masks import Mask, body_mask, check_masks, field_of_view
from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair, check_same_grid
from ct_vae.evaluation.metrics.windowed_errors import Tally, Where, tally_errors
from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.volume import Volume

__all__ = ["DEFAULT_WINDOWS", "MetricRow", "check_same_grid", "error_rows", "evaluate_pair"]

DEFAULT_WINDOWS = (WINDOWS["full"], WINDOWS["soft_tissue"])
IN_WINDOW = "in_window"
_PERCENTAGES = (95.0, 99.9)


@dataclass(frozen=True)
class MetricRow:
    """Errors of one volume in one window and one mask.

    Both volumes are clipped to the window first, so an error outside it does not count; only in
    the mask ``in_window``, the voxels of the body of which the original lies in the window, errors
    are taken as they are.

    Attributes:
        case: The caller's name for the volume.
        what: What is compared with the original, such as ``reconstruction`` or ``mean``.
        window: Name of the window.
        mask: Name of the mask.
        n: Number of voxels.
        mae: Mean absolute error in HU; this and all below are ``None`` when there is no voxel.
        rmse: Root mean square error in HU.
        bias: Mean of reconstruction minus original, in HU.
        psnr: ``20 log10(data_range / rmse)`` in dB; ``None`` when there is no error.
        data_range: The window's width in HU.
        note: What was unusual about the mask; empty when nothing was.
        p95: 95 % of absolute errors are at most this, in HU.
        p999: 99.9 % of absolute errors are at most this, in HU.
        more: Metrics that were asked for beyond these, by name.
    """

    case: str
    what: str
    window: str
    mask: str
    n: int
    mae: float | None
    rmse: float | None
    bias: float | None
    psnr: float | None
    data_range: float
    note: str = ""
    p95: float | None = None
    p999: float | None = None
    more: Mapping[str, float | None] = field(default_factory=dict)

    def numbers(self) -> dict[str, float | None]:
        """Every metric by name."""
        plain = {name: getattr(self, name) for name in PLAIN_METRICS}
        return plain | dict(self.more)


PLAIN_METRICS = ("mae", "rmse", "bias", "p95", "p999", "psnr")


def evaluate_pair(
    reference: Volume,
    reconstruction: Volume,
    windows: Sequence[Window] = DEFAULT_WINDOWS,
    *,
    case: str,
    what: str = "reconstruction",
    masks: Sequence[Mask] | None = None,
    slab_voxels: int = SLAB_VOXELS,
) -> list[MetricRow]:
    """Compare a reconstruction with its original, voxel by voxel.

    Args:
        reference: The original.
        reconstruction: What is judged, on the same grid.
        windows: HU ranges; one row for each with each mask.
        case: Name of the case in the rows; never a path or a patient's name.
        what: Name of the thing judged in the rows.
        masks: Where to count; by default the body and the field of view of the original.
        slab_voxels: Voxels taken to float64 at once; changes memory, not results.

    Raises:
        InputError: If grids differ, a mask has another shape, or a value is not finite.
    """
    pair = Pair(reference, reconstruction)
    if masks is None:
        masks = (body_mask(reference), field_of_view(reference))
    places = [Where(mask) for mask in masks]
    return error_rows(pair, windows, places, (case, what), slab_voxels)


def error_rows(
    pair: Pair,
    windows: Sequence[Window],
    places: Sequence[Where],
    names: tuple[str, str],
    slab_voxels: int = SLAB_VOXELS,
) -> list[MetricRow]:
    """A row for each window at each place; ``names`` are those of the case and of what is judged.

    Raises:
        InputError: If a mask has another shape, or a value is not finite.
    """
    check_masks(pair.reference, [place.mask for place in places])
    try:
        tallies = tally_errors(pair, windows, places, slab_voxels)
    except InputError as error:
        raise InputError(f"original or {names[1]} of {names[0]}: {error.cause}") from error
    return [
        _row(tally, names, window, place)
        for window, of_window in zip(windows, tallies, strict=True)
        for tally, place in zip(of_window, places, strict=True)
    ]


def _row(tally: Tally, names: tuple[str, str], window: Window, place: Where) -> MetricRow:
    mask = IN_WINDOW if place.in_window else place.mask.name
    where = (*names, window.name, mask, tally.n)
    note = place.mask.note
    if not tally.n:
        return MetricRow(*where, None, None, None, None, window.width, note)
    errors = tally.numbers(_PERCENTAGES)
    psnr = 20 * math.log10(window.width / errors.rmse) if errors.rmse else None
    p95, p999 = errors.percentiles
    numbers = (errors.mae, errors.rmse, errors.bias, psnr)
    return MetricRow(*where, *numbers, window.width, note, p95, p999)
