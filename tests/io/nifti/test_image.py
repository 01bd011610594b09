import itertools
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, read_volume, write_volume
from ct_vae.volume import DECODING, Volume
from tests._strategies import ALL_AXCODES, grids
from tests.io._samples import AFFINE, ct_volume, ct_voxels, gz, nifti_bytes

FORCE = ReadOptions(force=True)
GOOD = ["abdomen_3mm.nii.gz", "pelvis_float32_qform.nii.gz", "spine_crop_pir.nii.gz"]


def read_bytes(folder, content, options=FORCE):
    path = folder / "a.nii"
    path.write_bytes(content)
    return read_volume(path, options)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_what_was_written_is_read(tmp_path, name):
    volume = ct_volume()
    write_volume(volume, tmp_path / name)
    again = read_volume(tmp_path / name)
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    assert again.voxels.dtype == np.int16
    assert again.grid == volume.grid
    assert not again.warnings


@pytest.mark.parametrize("axcodes", ALL_AXCODES)
def test_every_orientation_is_written_and_read_identically(tmp_path, axcodes):
    grid = Grid((5, 7, 9), AFFINE).reorient(axcodes)
    volume = Volume(ct_voxels(grid.shape), grid)
    write_volume(volume, tmp_path / "a.nii")
    again = read_volume(tmp_path / "a.nii")
    assert again.grid == grid
    assert again.grid.axcodes == axcodes
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    nib.load(tmp_path / "a.nii").header.get_qform()
    other = SimpleITK.ReadImage(str(tmp_path / "a.nii"))
    size, spacing, origin, direction = (
        other.GetSize(),
        other.GetSpacing(),
        other.GetOrigin(),
        other.GetDirection(),
    )
    assert Grid.from_lps(size, spacing, origin, direction).distance_mm(grid) < 1e-3


@given(grids(shear=9e-3))
def test_any_affine_survives_to_float32_and_then_bit_for_bit(tmp_path_factory, grid):
    path = tmp_path_factory.getbasetemp() / "affine.nii"
    write_volume(Volume(np.zeros(grid.shape, np.int16), grid), path)
    again = read_volume(path, FORCE)
    np.testing.assert_array_equal(again.grid.affine, grid.affine.astype(np.float32))
    assert not again.warnings
    write_volume(again, path)
    assert read_volume(path, FORCE).grid == again.grid


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("cls", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("scaling", [(1, 0), (1, -1024), (0.5, -0.25), (0, 7), (np.nan, 3)])
def test_every_type_order_and_scaling_is_read_as_nibabel_reads_it(
    tmp_path, kind, order, cls, scaling
):
    rng = np.random.default_rng(1)
    stored = np.round(rng.normal(0, 60, (5, 6, 7)) % 120).astype(kind)
    slope, inter = scaling
    content = nifti_bytes(stored, cls=cls, order=order, scl_slope=slope, scl_inter=inter)
    volume = read_bytes(tmp_path, content)
    expected = nib.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_array_equal(volume.voxels, expected.astype(np.float32))
    integral = (expected == np.rint(expected)).all()
    assert volume.voxels.dtype == (np.int16 if integral else np.float32)
    np.testing.assert_array_equal(volume.grid.affine, nib.load(tmp_path / "a.nii").affine)
    assert volume.source["dtype"] == np.dtype(kind).name


@pytest.mark.parametrize("name", GOOD)
def test_real_files_are_read_as_nibabel_reads_them(real_data, name):
    path = real_data / "nifti" / name
    volume, oracle = read_volume(path), nib.load(path)
    np.testing.assert_array_equal(volume.voxels, oracle.get_fdata())
    np.testing.assert_array_equal(volume.grid.affine, oracle.affine)
    assert volume.outside_fov is None


def test_six_orientations_are_one_anatomy(real_data):
    heads = [
        read_volume(path, FORCE)
        for path in sorted((real_data / "nifti" / "six_orientations").glob("*.nii.gz"))
    ]
    assert len(heads) == 6
    turned = [head.grid.reorient_array(head.voxels, "RAS") for head in heads]
    for other in turned[1:]:
        np.testing.assert_array_equal(other, turned[0])


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(ct_volume(), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[3:8] == b"\0" * 5


def test_memory_order_does_not_matter(tmp_path):
    volume = ct_volume()
    write_volume(volume, tmp_path / "a.nii")
    plain = np.ascontiguousarray(volume.voxels)
    strided = np.repeat(plain, 2, axis=1)[:, ::2]
    for voxels in (plain, strided, strided[::-1][::-1]):
        write_volume(Volume(voxels, volume.grid), tmp_path / "b.nii")
        assert (tmp_path / "b.nii").read_bytes() == (tmp_path / "a.nii").read_bytes()


def test_halves_round_to_even(tmp_path):
    voxels = np.linspace(-2, 2, 17, dtype=np.float32).reshape(1, 1, 17)
    write_volume(Volume(voxels, Grid((1, 1, 17), AFFINE)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii", FORCE).voxels, np.rint(voxels))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 32768, -32769, 32767.6])
def test_a_voxel_that_int16_does_not_hold_is_refused(tmp_path, bad):
    voxels = np.zeros((2, 2, 2), np.float32)
    voxels[1, 0, 1] = bad
    with pytest.raises(InputError, match="cannot be stored as int16"):
        write_volume(Volume(voxels, Grid((2, 2, 2), AFFINE)), tmp_path / "a.nii")
    assert not list(tmp_path.iterdir())


def test_an_affine_beyond_float32_is_refused(tmp_path):
    affine = AFFINE.copy()
    affine[0, 3] = 1e39
    with pytest.raises(InputError, match="not finite"):
        write_volume(ct_volume(affine=affine), tmp_path / "a.nii")
    assert not list(tmp_path.iterdir())


def test_sides_beyond_nifti_are_refused(tmp_path):
    grid = Grid((1, 1, 40000), AFFINE)
    with pytest.raises(InputError, match="40000"):
        write_volume(Volume(np.zeros(grid.shape, np.int16), grid), tmp_path / "a.nii")


def test_a_sheared_grid_is_written_without_a_qform(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = 0.02
    write_volume(ct_volume(affine=affine), tmp_path / "a.nii")
    header = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)


@pytest.mark.parametrize("tail", [(1,), (1, 1), (1, 1, 1, 1)])
def test_trailing_dimensions_of_one_are_dropped(tmp_path, tail):
    voxels = ct_voxels((4, 5, 6))
    volume = read_bytes(tmp_path, nifti_bytes(voxels.reshape((4, 5, 6, *tail), order="F")))
    np.testing.assert_array_equal(volume.voxels, voxels)


def test_one_time_point_is_read_on_request(tmp_path):
    frames = np.stack([ct_voxels(seed=seed) for seed in range(3)], axis=3)
    content = gz(nifti_bytes(frames))
    with pytest.raises(InputError, match=r"3 time points.*--frame K"):
        read_bytes(tmp_path, content, ReadOptions())
    for k, nan in itertools.product(range(3), ("refuse", "air")):
        volume = read_bytes(tmp_path, content, ReadOptions(frame=k, nan=nan))
        np.testing.assert_array_equal(volume.voxels, frames[..., k])
        assert volume.source["frame"] == k
    with pytest.raises(InputError, match="3 time points, but frame 3"):
        read_bytes(tmp_path, content, ReadOptions(frame=3))


def test_the_source_is_recorded_without_a_path(tmp_path):
    volume = read_bytes(tmp_path, nifti_bytes(ct_voxels()))
    assert volume.source["format"] == "nifti"
    assert not any(str(tmp_path) in str(value) for value in volume.source.values())


def test_a_large_file_costs_its_own_size(tmp_path):
    import tracemalloc

    write_volume(ct_volume((160, 160, 120)), tmp_path / "a.nii.gz")
    read_volume(tmp_path / "a.nii.gz")
    tracemalloc.start()
    volume = read_volume(tmp_path / "a.nii.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Buffers and the sample for the plausibility check do not grow with the volume.
    assert peak < volume.voxels.nbytes + (24 << 20)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_decoded_volume_tells_how_it_was_decoded_and_stays_derived(tmp_path, name):
    facts = {"model": "ä \x1b[31m", "precision": "bf16"}
    volume = replace(ct_volume(), derived=True, source={DECODING: facts})
    for _ in range(2):
        write_volume(volume, tmp_path / name)
        volume = read_volume(tmp_path / name)
        assert volume.derived
        assert volume.source[DECODING] == facts
        np.testing.assert_array_equal(nib.load(tmp_path / name).dataobj, ct_volume().voxels)
    write_volume(ct_volume(), tmp_path / name)
    plain = read_volume(tmp_path / name)
    assert not plain.derived
    assert DECODING not in plain.source
