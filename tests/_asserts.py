"""Properties by name, shared by test modules."""

from pathlib import Path

import numpy as np
import torch

from ct_vae.grid import Grid
from ct_vae.volume import Volume


def assert_same_place(a: Grid, b: Grid, tolerance_mm: float = 1e-6) -> None:
    """Both grids have equal shapes and equal corners."""
    assert a.shape == b.shape
    assert a.distance_mm(b) <= tolerance_mm


def assert_same_anatomy(a: Volume, b: Volume) -> None:
    """Equal positions in the patient hold equal values, whatever the index order."""
    assert_same_place(a.grid.reorient("RAS"), b.grid.reorient("RAS"), 1e-3)
    left = a.grid.reorient_array(a.voxels, "RAS")
    right = b.grid.reorient_array(b.voxels, "RAS")
    np.testing.assert_array_equal(left, right)


def assert_close(result: torch.Tensor, reference: torch.Tensor, relative: float) -> None:
    """The 2-norm of the difference is at most ``relative`` times that of the reference."""
    assert result.shape == reference.shape
    error = (result.double() - reference.double()).norm() / reference.double().norm()
    assert error <= relative, f"relative error {error:.3g} exceeds {relative:.3g}"


def assert_only_files(folder: Path, names: set[str]) -> None:
    """A folder holds these files and nothing else, temporary ones included."""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == names
