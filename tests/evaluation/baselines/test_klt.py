import numpy as np
import pytest

from ct_vae.evaluation.baselines.klt import klt_baseline
from ct_vae.evaluation.baselines.resample import resample_baseline
from ct_vae.grid import Grid
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.volume import Volume
from tests._small import ct_volume


def rough(shape=(13, 10, 11), seed=0):
    """A cut-off body with structure of several sizes."""
    rng = np.random.default_rng(seed)
    axes = np.indices(shape) / 5
    hu = 200 * np.sin(axes[0]) * np.cos(1.3 * axes[1] + axes[2]) + rng.normal(0, 30, shape)
    return Volume(np.rint(hu).astype(np.int16), Grid(shape, np.diag([1.5, 2.0, 2.5, 1.0])))


def banal(volume, sides, codes):
    """Principal components of all blocks by a singular value decomposition."""
    x = np.pad(
        volume.voxels.astype(float),
        [(0, -n % s) for n, s in zip(volume.voxels.shape, sides, strict=True)],
        mode="edge",
    )
    blocks = []
    places = list(np.ndindex(*(n // s for n, s in zip(x.shape, sides, strict=True))))
    for place in places:
        box = tuple(slice(i * s, (i + 1) * s) for i, s in zip(place, sides, strict=True))
        blocks.append(x[box].ravel())
    rows = np.array(blocks)
    mean = rows.mean(0)
    basis = np.linalg.svd(rows - mean, full_matrices=False)[2][:codes]
    coded = (rows - mean) @ basis.T @ basis + mean
    for place, row in zip(places, coded, strict=True):
        box = tuple(slice(i * s, (i + 1) * s) for i, s in zip(place, sides, strict=True))
        x[box] = row.reshape(sides)
    return x[tuple(slice(n) for n in volume.voxels.shape)]


@pytest.mark.parametrize(("sides", "codes"), [((4, 4, 4), 3), ((2, 4, 1), 2), ((4, 4, 4), 1)])
def test_it_is_the_principal_components_of_the_volumes_own_blocks(sides, codes):
    volume = rough()
    found = klt_baseline(volume, Preprocessor(), sides, codes)
    assert np.abs(found.volume.voxels - banal(volume, sides, codes)).max() <= 0.51
    assert found.volume.grid == volume.grid
    assert found.name == "klt"


def test_as_many_codes_as_voxels_lose_nothing_but_rounding():
    volume = rough()
    found = klt_baseline(volume, Preprocessor(), (2, 2, 2), 99)
    assert np.abs(found.volume.voxels - volume.voxels.astype(int)).max() <= 1


def test_more_codes_are_better_and_they_beat_resampling_to_as_many_numbers():
    volume = rough((16, 16, 16))
    errors = []
    for codes in (1, 2, 4, 8):
        klt = klt_baseline(volume, Preprocessor(), (4, 4, 4), codes)
        errors.append(((klt.volume.voxels - volume.voxels.astype(float)) ** 2).mean())
    assert errors == sorted(errors, reverse=True)
    plain = resample_baseline(volume, klt.values)
    assert errors[-1] < ((plain.volume.voxels - volume.voxels.astype(float)) ** 2).mean()


def test_air_alone_comes_back():
    volume = ct_volume()
    air = Volume(np.full_like(volume.voxels, -1000), volume.grid)
    assert (klt_baseline(air, Preprocessor(), (4, 4, 4), 2).volume.voxels == -1000).all()
