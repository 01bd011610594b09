import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.plausibility import refuse_implausible, settle_padding
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.volumes import read_volume
from ct_vae.volume import AIR_HU

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


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(
    "name", ["abdomen_3mm.nii.gz", "pelvis_float32_qform.nii.gz", "lung_crop.mha", "spine_crop_pir"]
)
def test_real_ct_passes(real_data, name, dtype):
    path = next((real_data / "nifti").glob(f"{name}*"))
    voxels = read_volume(path).voxels.astype(dtype)
    refuse_implausible(voxels, settle_padding(voxels))


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.full(SHAPE, -1000, np.int16), "is constant: every voxel is -1000"),
        (np.full(SHAPE, -2000, np.int16), "nothing but padding"),
        (np.where(circle(), -3024, -1100), "is constant: every voxel is -1100"),
        (noise(-1020, -950), "nothing but air: its values run from -1020 to -951"),
        (np.where(noise(0, 2) > 0, -3024, noise(-1010, -990)), "nothing but air"),
        (noise(0, 2), "as if normalised"),
        (noise(-1000, 1001).astype(np.float32) / 1000, "as if normalised"),
        (noise(0, 5), "only 5 distinct values (0, 1, 2, 3, 4)"),
        (noise(-1, 2) * 1000, "only 3 distinct values (-1000, 0, 1000)"),
        (noise(0, 256), "8-bit picture"),
        (noise(0, 1500), "MR, PET"),
        (thorax() + 1024, "--hu-offset -1024"),
        (np.maximum(thorax() + 1024, 0), "--hu-offset -1024"),
        (np.where(circle(), -2000, thorax() + 1024), "--hu-offset -1024"),
        (np.where(circle(), 0, np.maximum(thorax() + 1024, 0)), "--hu-offset -1024"),
        (noise(30, 50) + 1024, "--hu-offset -1024"),
        (thorax() - 1024, "--hu-offset 1024"),
    ],
)
def test_strong_evidence_is_refused_and_force_reads_it(voxels, message):
    with pytest.raises(InputError) as caught:
        volume(voxels.astype(np.float32 if voxels.dtype == np.float32 else np.int16))
    assert message in str(caught.value)
    assert "--force" in caught.value.hint
    volume(voxels.astype(np.int16), force=True)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(
    "voxels",
    [
        thorax(),
        np.clip(thorax(), -1000, 1000),
        np.clip(thorax(), -160, 240),
        np.where(circle(), -3024, thorax()),
        np.where(circle(), -3024 + (noise(0, 8) == 0), thorax()),
        noise(-30, 90),
        noise(-150, 1900),
        np.minimum(thorax() * 30, 30000),
        np.where(noise(0, 3) > 1, noise(200, 1900), noise(-20, 80)),
    ],
)
def test_whatever_may_be_ct_is_read(voxels, dtype):
    volume(voxels.astype(dtype))


def test_the_suggested_offset_makes_it_readable():
    expected = thorax()
    for shift in (1024, -1024):
        corrected = volume(expected + np.int16(shift), hu_offset=-shift)
        np.testing.assert_array_equal(corrected.voxels, expected)
        assert corrected.source["hu_offset"] == -shift


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("padding", [-1400, -1500, -2000, -2048, -3024, -32768])
def test_padding_becomes_air_and_a_mask(padding, dtype):
    inside = thorax().astype(dtype)
    result = volume(np.where(circle(), dtype(padding), inside))
    np.testing.assert_array_equal(result.outside_fov, circle())
    np.testing.assert_array_equal(result.voxels, np.where(circle(), AIR_HU, inside))
    assert str(padding) in result.warnings[0]
    assert str(np.count_nonzero(circle())) in result.warnings[0]


def test_undershoot_of_resampling_is_kept():
    voxels = thorax()
    voxels[0, 0, :4] = [-1399, -1200, -1100, -1030]
    result = volume(voxels)
    np.testing.assert_array_equal(result.voxels, voxels)
    assert result.outside_fov is None


def test_nan_turned_to_air_stays_air_whatever_the_offset():
    voxels = (thorax() + 1024).astype(np.float32)
    voxels[2, 3, 4] = np.nan
    result = volume(voxels, nan="air", hu_offset=-1024)
    assert result.voxels[2, 3, 4] == AIR_HU
    assert result.outside_fov is None
    assert any(warning.startswith("1 voxels were not finite") for warning in result.warnings)
