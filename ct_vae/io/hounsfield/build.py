"""Conversion of stored values on a grid to a checked volume in HU, the last step of readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ct_vae.grid import Grid
from ct_vae.io.hounsfield.hu_check import implausibility
from ct_vae.io.hounsfield.padding import replace_padding
from ct_vae.io.hounsfield.rescale import Scaling, to_hounsfield
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.voxel_size import check_voxel_size
from ct_vae.volume import AIR_HU, Volume

# Key of the reason why values do not look like HU, if they were read with ``force``.
UNLIKE_HU = "unlike_hu"


def hounsfield_volume(
    stored: NDArray[Any],
    scaling: Scaling,
    grid: Grid,
    options: ReadOptions,
    source: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> Volume:
    """Scale stored values to HU, replace padding by air, and check that the values are CT.

    Args:
        stored: ``(X, Y, Z)`` stored values of any real type; their memory may be reused.
        scaling: Map from stored values to HU.
        grid: Grid of the voxels.
        options: Options of reading.
        source: Facts about the file for `Volume.source`.
        warnings: Warnings so far.

    Raises:
        InputError: If values are not finite or not plausible, or voxel sizes are implausible.
    """
    check_voxel_size(grid)
    facts, notes = dict(source) | {"dtype": stored.dtype.name}, list(warnings)
    shifted = Scaling(scaling.slope, scaling.inter + options.hu_offset)
    voxels, broken = to_hounsfield(stored, shifted, options.nan)
    if broken:
        notes.append(f"{broken} voxels were not finite and became {AIR_HU} HU")
    if options.hu_offset:
        facts["hu_offset"] = options.hu_offset
        notes.append(f"{options.hu_offset:g} HU were added to every value")
    padding = replace_padding(voxels)
    if padding:
        notes.append(padding.note)
    problem = implausibility(voxels, padding)
    if problem and not options.force:
        raise problem
    if problem:
        facts[UNLIKE_HU] = problem.cause
    return Volume(voxels, grid, padding.outside if padding else None, facts, tuple(notes))
