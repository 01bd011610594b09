import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.io.hounsfield.hu_check import implausibility, refuse_implausible
from ct_vae.io.hounsfield.padding import replace_padding
from ct_vae.io.hounsfield.rescale import Scaling, to_hounsfield
from ct_vae.io.volumes import read_volume
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import AIR_HU
from tests.io.hounsfield._disguises import DISGUISES, HARDER, TREATMENTS, crop
from tests.io.hounsfield._thorax import SHAPE, circle, noise, thorax, volume


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(
    "name", ["abdomen_3mm.nii.gz", "pelvis_float32_qform.nii.gz", "lung_crop.mha", "spine_crop_pir"]
)
def test_real_ct_passes(real_data, name, dtype):
    path = next((real_data / "nifti").glob(f"{name}*"))
    voxels = read_volume(path).voxels.astype(dtype)
    refuse_implausible(voxels, replace_padding(voxels))


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.full(SHAPE, -1000, np.int16), "is constant: every voxel is -1000"),
        (np.full(SHAPE, -2000, np.int16), "only padding"),
        (np.where(circle(), -3024, -1100), "is constant: every voxel is -1100"),
        (noise(-1020, -950), "only air: its values run from -1020 to -951"),
        (np.where(noise(0, 2) > 0, -3024, noise(-1010, -990)), "only air"),
        (noise(0, 2), "as if normalized"),
        (noise(-1000, 1001).astype(np.float32) / 1000, "as if normalized"),
        (noise(0, 5), "only 5 distinct values (0, 1, 2, 3, 4)"),
        (noise(-1, 2) * 1000, "only 3 distinct values (-1000, 0, 1000)"),
        (noise(0, 256), "8-bit image"),
        (np.where(circle(), noise(0, 60), -128), "a shifted 8-bit image"),
        (np.where(circle(), noise(0, 20) * 3, -128), "a shifted 8-bit image"),
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
    forced = volume(voxels, force=True)
    assert message in f"{forced.source['unlike_hu']}; {caught.value.hint}"
    assert not any("HU" in line for line in forced.warnings if "padding" not in line)


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
        np.where(thorax() > 700, 30000, thorax()),
        np.where(noise(0, 500) == 0, noise(-1300, -1000), thorax()),
        np.clip(thorax(), -200, 300),
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


def test_nan_turned_to_air_stays_air_whatever_the_offset():
    voxels = (thorax() + 1024).astype(np.float32)
    voxels[2, 3, 4] = np.nan
    result = volume(voxels, nan="air", hu_offset=-1024)
    assert result.voxels[2, 3, 4] == AIR_HU
    assert result.outside_fov is None
    assert any(warning.startswith("1 voxels were not finite") for warning in result.warnings)


@pytest.fixture(scope="module")
def bodies():
    """Phantoms, and real CT where it is at hand."""
    found = [make_phantom(name, 7, 5.0).voxels for name in ("thorax", "abdomen", "head")]
    folder = Path(os.environ.get("CT_VAE_TEST_DATA", "../shared/data")) / "nifti"
    names = ("abdomen_3mm.nii.gz", "pelvis_float32_qform.nii.gz")
    real = [read_volume(folder / name).voxels for name in names if (folder / name).exists()]
    return found + [hu[:: hu.shape[0] // 100, :: hu.shape[1] // 100] for hu in real]


def problem(values):
    """Why a file with these values is refused, as every reader finds it."""
    voxels, _ = to_hounsfield(np.array(values, order="F"), Scaling())
    padding = replace_padding(voxels)
    return implausibility(voxels, padding)


@pytest.mark.parametrize("name", TREATMENTS)
def test_whole_bodies_in_hu_pass(bodies, name):
    for hu in bodies:
        assert problem(TREATMENTS[name](hu)) is None


@pytest.mark.parametrize("name", [*DISGUISES, *HARDER])
def test_whole_bodies_that_are_not_in_hu_are_refused(bodies, name):
    for hu in bodies:
        assert problem({**DISGUISES, **HARDER}[name](hu)) is not None


def seeds():
    return st.integers(0, 2**32 - 1)


@settings(max_examples=100)
@given(seed=seeds(), place=st.integers(0, 9), name=st.sampled_from(sorted(TREATMENTS)))
def test_no_crop_of_ct_is_refused(bodies, seed, place, name):
    hu = crop(bodies[place % len(bodies)], np.random.default_rng(seed))
    assume(len(np.unique(hu)) > 100)
    values = TREATMENTS[name](hu)
    # Nothing but air, and nothing below zero, are refused for what they are.
    assume(values.max() > -800 and np.percentile(values, 1) < -1)
    assume(len(np.unique(values.round())) > 20)
    assert problem(values) is None


@settings(max_examples=100)
@given(seed=seeds(), place=st.integers(0, 9), name=st.sampled_from(sorted(DISGUISES)))
def test_no_crop_with_air_and_tissue_passes_in_disguise(bodies, seed, place, name):
    hu = crop(bodies[place % len(bodies)], np.random.default_rng(seed), low=24)
    assume(np.mean(hu < -900) > 0.05 and np.mean(np.abs(hu) < 150) > 0.05)
    assert problem(DISGUISES[name](hu)) is not None


def test_crops_without_air_differ_from_scaled_ones(real_data):
    spine = read_volume(real_data / "nifti" / "spine_crop_pir.nii.gz").voxels
    for name, treat in TREATMENTS.items():
        assert problem(treat(spine)) is None, name
    for name, disguise in DISGUISES.items():
        assert problem(disguise(spine)) is not None, name


def test_patches_are_judged_together():
    patches = np.stack([thorax(seed)[:16, :16, :16] for seed in range(4)])[:, None]
    assert implausibility(patches) is None
    assert implausibility(patches / np.float32(1000)) is not None
