"""Grid of a NIfTI image from its sform or qform."""

from __future__ import annotations

from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError

from ct_vae.errors import InputError
from ct_vae.grid import MAX_SHEAR, FloatArray, Grid, Triple
from ct_vae.io.voxel_size import check_voxel_size

# Rotations near 180 degrees have four digits in a float32 quaternion, which shifts the corner of a
# CT by up to 0.1 mm. Differences below this fraction of a voxel are ignored.
_TOLERATED_VOXELS = 0.25
_XFORM_CODES = range(6)


def nifti_grid(
    fields: Any, shape: Triple, assume_ras: bool, allow_shear: bool = False
) -> tuple[Grid, dict[str, Any], list[str]]:
    """Return the grid of an image from its sform if its code is set, else from its qform.

    Args:
        fields: Header of nibabel.
        shape: Number of voxels along the three axes.
        assume_ras: If the header has no transform, assume axes along R, A, S and the center of the
            first voxel at the origin.
        allow_shear: Return a sheared grid instead of raising an error.

    Returns:
        The grid, facts for `Volume.source`, and warnings.

    Raises:
        InputError: If there is no valid transform, it is singular or sheared, or the voxel sizes
            are implausible.
    """
    codes = {name: int(fields[f"{name}_code"]) for name in ("sform", "qform")}
    for name, code in codes.items():
        if code not in _XFORM_CODES:
            raise InputError(f"its header has the unknown {name} code {code}")
    used = next((name for name, code in codes.items() if code > 0), "pixdim")
    if used == "pixdim":
        grid = _assumed(fields, shape, assume_ras)
        check_voxel_size(grid)
        warning = "no orientation in the header: axes assumed to run R, A, S"
        return grid, {"affine_from": used}, [warning]
    grid = Grid(shape, _sform(fields) if used == "sform" else _qform(fields))
    check_voxel_size(grid)
    if grid.shear > MAX_SHEAR and not allow_shear:
        raise InputError(
            f"its {used} is sheared: two axes have a cosine of {grid.shear:.4f}, "
            f"the limit is {MAX_SHEAR}",
            "if the gantry was tilted, --resample-irregular resamples it to an orthogonal grid",
        )
    facts: dict[str, Any] = {"affine_from": used}
    warnings: list[str] = []
    if all(codes.values()):
        _compare(grid, fields, facts, warnings)
    return grid, facts, warnings


def _assumed(fields: Any, shape: Triple, assume_ras: bool) -> Grid:
    if not assume_ras:
        raise InputError(
            "its header has no orientation (sform and qform codes are 0)",
            "--assume-ras assumes that the axes point to R, A, S",
        )
    return Grid(shape, np.diag([*_pixdim(fields), 1.0]))


def _pixdim(fields: Any) -> list[float]:
    sizes = [float(size) for size in fields["pixdim"][1:4]]
    if not all(0 < size < np.inf for size in sizes):
        raise InputError(f"its header declares voxel sizes of {sizes} mm")
    return sizes


def _sform(fields: Any) -> FloatArray:
    affine = np.eye(4)
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        affine[row] = fields[name]
    return affine


def _qform(fields: Any) -> FloatArray:
    _pixdim(fields)
    header = fields.copy()
    # The standard defines a qfac of 0 as 1.
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1
    try:
        affine: FloatArray = np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, HeaderDataError) as error:
        raise InputError(f"its qform is invalid: {error}") from error
    return affine


def _compare(grid: Grid, fields: Any, facts: dict[str, Any], warnings: list[str]) -> None:
    try:
        distance = grid.distance_mm(Grid(grid.shape, _qform(fields)))
    except InputError as error:
        warnings.append(f"the qform is unusable ({error.cause}); the sform was used")
        return
    facts["qform_distance_mm"] = distance
    if distance > _TOLERATED_VOXELS * min(grid.spacing_mm):
        warnings.append(
            f"sform and qform disagree by up to {distance:.3g} mm at the corners; "
            "the sform was used"
        )
