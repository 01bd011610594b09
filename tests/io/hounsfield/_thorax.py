"""A small body in HU, and its way through the last step of every reader."""

import numpy as np

from ct_vae.grid import Grid
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.read_options import ReadOptions

SHAPE = (24, 25, 26)
GRID = Grid(SHAPE, np.eye(4))


def thorax(seed=0, dtype=np.int16):
    """A cylinder of tissue with lungs and bone in air, with noise of 20 HU."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    voxels = np.full(SHAPE, -1000.0)
    voxels[np.hypot(x, y) < 0.8] = 40
    voxels[np.hypot(x - 0.3, y) < 0.2] = -850
    voxels[np.hypot(x + 0.5, y) < 0.1] = 900
    return np.asfortranarray(np.rint(voxels + rng.normal(0, 20, SHAPE)).astype(dtype))


def circle():
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    return np.hypot(x, y) > 0.95


def volume(voxels, **options):
    return hounsfield_volume(voxels.copy(order="F"), Scaling(), GRID, ReadOptions(**options), {})


def noise(low, high, seed=0):
    return np.random.default_rng(seed).integers(low, high, SHAPE).astype(np.int16)
