"""Volumes that several tests of evaluation share."""

from pathlib import Path

import nibabel as nib
import numpy as np

from ct_vae.grid import Grid
from ct_vae.volume import Volume


def volume_of(voxels, spacing=(2.0, 2.0, 2.0), outside=None) -> Volume:
    voxels = np.asarray(voxels)
    return Volume(voxels, Grid(voxels.shape, np.diag([*spacing, 1.0])), outside)


def random_volume(seed=0, shape=(9, 12, 7), dtype=np.int16) -> Volume:
    rng = np.random.default_rng(seed)
    return volume_of(rng.integers(-1024, 3000, size=shape).astype(dtype))


def noisy(volume, seed=1, hu=60) -> Volume:
    noise = np.random.default_rng(seed).integers(-hu, hu + 1, size=volume.voxels.shape)
    return Volume((volume.voxels + noise).astype(np.int16), volume.grid)


def read_plainly(path: Path) -> Volume:
    image = nib.load(path)
    voxels = np.rint(np.asarray(image.dataobj)).astype(np.int16)
    return Volume(voxels, Grid(voxels.shape, image.affine))
