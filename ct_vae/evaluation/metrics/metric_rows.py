"""Error metrics of a reconstruction in HU, per window and mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair, check_same_grid
from ct_vae.evaluation.metrics.windowed_errors import Tally, Where, tally_errors
from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.masks import Mask, body_mask, check_masks, field_of_view
from ct_vae.volume import Volume

__all__ = ["DEFAULT_WINDOWS", "MetricRow", "check_same_grid", "error_rows", "evaluate_pair"]

DEFAULT_WINDOWS = (WINDOWS["full"], WINDOWS["soft_tissue"])
IN_WINDOW = "in_window"
_PERCENTAGES = (95.0, 99.9)


@dataclass(frozen=True)
class MetricRow:
    """Errors of one volume in one window and one mask.

    Both volumes are clipped to the window first. In the mask ``in_window``, which contains the
    voxels of the body whose original value is inside the window, errors are not clipped.

    Attributes:
        case: Name of the case.
        what: Reconstruction or baseline, such as ``reconstruction`` or ``mean``.
        window: Name of the window.
        mask: Name of the mask.
        n: Number of voxels.
        mae: Mean absolute error in HU. Metrics are ``None`` if there are no voxels.
        rmse: Root mean square error in HU.
        bias: Mean of reconstruction minus original, in HU.
        psnr: ``20 log10(data_range / rmse)`` in dB; ``None`` if there is no error.
        data_range: Width of the window in HU.
        note: Note about the mask; may be empty.
        p95: 95th percentile of absolute errors in HU.
        p999: 99.9th percentile of absolute errors in HU.
        more: Further metrics by name.
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
        """Return all metrics by name."""
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
        reference: Original volume.
        reconstruction: Reconstruction on the same grid.
        windows: CT windows; there is one row per window and mask.
        case: Name of the case in the rows; must not identify the patient.
        what: Name of the reconstruction or baseline in the rows.
        masks: Masks; defaults to the body and the field of view of the original.
        slab_voxels: Voxels converted to float64 at once; affects memory, not results.

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
    """Compute one row per window and mask; ``names`` are those of the case and reconstruction.

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
