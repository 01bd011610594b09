"""Check of voxel sizes."""

from __future__ import annotations

from ct_vae.errors import InputError
from ct_vae.grid import Grid

# From photon-counting CT of the inner ear to the thickest slices, with a margin on both sides.
SMALLEST_MM, LARGEST_MM = 0.02, 50.0


def check_voxel_size(grid: Grid) -> None:
    """Raise an error for a grid with lengths that cannot be millimeters.

    Raises:
        InputError: If a voxel is smaller than 0.02 mm or larger than 50 mm along an axis.
    """
    sizes = grid.spacing_mm
    if all(SMALLEST_MM <= size <= LARGEST_MM for size in sizes):
        return
    listed = " x ".join(f"{size:.4g}" for size in sizes)
    units = {"meters": 1000, "centimeters": 10, "micrometers": 0.001}
    fits = {
        unit: factor
        for unit, factor in units.items()
        if all(0.1 <= size * factor <= LARGEST_MM / 2 for size in sizes)
    }
    unit, factor = next(iter(fits.items()), ("", 0))
    raise InputError(
        f"its voxels are {listed} mm; a CT has {SMALLEST_MM} to {LARGEST_MM:.0f} mm",
        f"if its lengths are in {unit}, multiply its affine by {factor:g}"
        if fits
        else "correct the voxel sizes or the affine in its header",
    )
