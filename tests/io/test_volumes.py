import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError
from ct_vae.grid import Grid
from ct_vae.io import read_volume, volume_sha256, write_volume
from ct_vae.volume import Volume
from tests.io._samples import AFFINE, ct_volume, ct_voxels


@pytest.mark.parametrize("name", ["a.png", "nii", "a.nii.bz2", "a.mhd", "a.nhdr", "a"])
def test_an_unknown_suffix_is_refused_with_those_known(tmp_path, name):
    with pytest.raises(ConfigError, match=r"\.nii\.gz, \.nii, \.mha, \.nrrd"):
        write_volume(ct_volume(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "mha", "nrrd"])
def test_equal_volumes_have_equal_fingerprints_in_any_format(tmp_path, suffix):
    volume = ct_volume()
    path = tmp_path / f"a.{suffix}"
    write_volume(volume, path)
    assert volume_sha256(read_volume(path)) == volume_sha256(volume)


def test_number_type_memory_order_and_sign_of_zero_do_not_matter():
    voxels = ct_voxels()
    voxels[0, 0, 0] = 0
    floats = np.ascontiguousarray(voxels.astype(np.float32))
    floats[0, 0, 0] = -0.0
    grid = Grid(voxels.shape, AFFINE)
    assert volume_sha256(Volume(floats, grid)) == volume_sha256(Volume(voxels, grid))


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 7))
def test_any_other_voxel_gives_another_fingerprint(i, j, k):
    volume = ct_volume()
    changed = volume.voxels.copy()
    changed[i, j, k] += 1
    assert volume_sha256(Volume(changed, volume.grid)) != volume_sha256(volume)


def test_another_affine_or_shape_gives_another_fingerprint():
    volume = ct_volume()
    moved = AFFINE.copy()
    moved[2, 3] = np.nextafter(moved[2, 3], 0)
    flat = Volume(volume.voxels.reshape((6, 8, 7), order="F"), Grid((6, 8, 7), AFFINE))
    prints = {
        volume_sha256(each)
        for each in (volume, Volume(volume.voxels, Grid((6, 7, 8), moved)), flat)
    }
    assert len(prints) == 3


def test_reading_does_not_change_the_file(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(ct_volume(), path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    read_volume(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
