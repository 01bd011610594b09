"""Rows 1 to 15 of the list of faults: NIfTI files, their values and their places."""

import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest

import ct_vae
from ct_vae.io import ReadOptions, read_latent, read_volume, volume_sha256, write_volume
from ct_vae.preprocess.restoration import restore
from tests._small import ct_volume
from tests._strategies import ALL_AXCODES
from tests.cli._run import call
from tests.faults._doors import accept, ct_file, refuse
from tests.io._samples import gz


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_01_a_truncated_file_is_refused_with_both_sizes(model_folder, tmp_path, name):
    whole = ct_file(tmp_path / "whole.nii").read_bytes()
    path = tmp_path / name
    path.write_bytes(gz(whole[:-100]) if name.endswith("gz") else whole[:-100])
    refuse(model_folder, path, 4, name, str(len(whole)), str(len(whole) - 100))


def test_01_a_gz_cut_anywhere_is_refused(model_folder, tmp_path):
    whole = gz(ct_file(tmp_path / "whole.nii").read_bytes())
    for at in (20, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        (tmp_path / "a.nii.gz").write_bytes(whole[:at])
        refuse(model_folder, tmp_path / "a.nii.gz", 4, "truncated")


def test_02_a_flipped_bit_in_a_gz_is_refused_by_its_checksum(model_folder, tmp_path):
    content = ct_file(tmp_path / "a.nii").read_bytes()
    # Stored, not compressed: then only the checksum can tell.
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)
    whole = bytearray(stored.compress(content) + stored.flush())
    whole[-200] ^= 4
    with pytest.raises(zlib.error, match="incorrect data check"):
        zlib.decompress(bytes(whole), 31)
    (tmp_path / "b.nii.gz").write_bytes(whole)
    refuse(model_folder, tmp_path / "b.nii.gz", 4, "checksum")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0" * 4000, "zeros"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "run git lfs pull"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_03_what_is_in_place_of_a_file_is_named(model_folder, tmp_path, content, words, packed):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gz(content) if packed else content)
    refuse(model_folder, path, 4, words)


def test_04_a_header_of_huge_sides_is_refused_before_memory_is_taken(model_folder, tmp_path):
    huge = ct_file(tmp_path / "a.nii", dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    refuse(model_folder, huge, 4, "2^31", "32767")
    # Within the limit of voxels, yet beyond what these few bytes can unpack to.
    bomb = ct_file(tmp_path / "b.nii", dim=[3, 2000, 1000, 1000, 1, 1, 1, 1]).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gz(bomb))
    peak = _peak_of(lambda: refuse(model_folder, tmp_path / "b.nii.gz", 4, "truncated"))
    assert peak < 2**26


def test_04_a_gz_that_unpacks_to_more_than_declared_is_refused(model_folder, tmp_path):
    content = ct_file(tmp_path / "a.nii").read_bytes() + b"\0" * 2**26
    (tmp_path / "b.nii.gz").write_bytes(gz(content))
    peak = _peak_of(lambda: refuse(model_folder, tmp_path / "b.nii.gz", 4))
    assert peak < 2**25


def _peak_of(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [3, 13, 0, 11, 1, 1, 1, 1]}, "must be positive"),
        ({"dim": [3, 13, -10, 11, 1, 1, 1, 1]}, "must be positive"),
        ({"dim": [2, 13, 10, 1, 1, 1, 1, 1]}, "2 dimensions"),
        ({"datatype": 128, "bitpix": 24}, "RGB"),
        ({"datatype": 32, "bitpix": 64}, "complex"),
        ({"datatype": 1536, "bitpix": 128}, "128-bit floats"),
        ({"dim": [4, 1, 13, 10, 11, 1, 1, 1]}, "its first axis seems to be 1 channel"),
    ],
)
def test_05_what_is_no_volume_of_numbers_is_refused(model_folder, tmp_path, fields, words):
    refuse(model_folder, ct_file(tmp_path / "a.nii", **fields), 4, words)


def test_05_of_several_time_points_one_is_taken_on_request(model_folder, tmp_path):
    volumes = [ct_volume(seed=k).voxels for k in range(3)]
    path = ct_file(tmp_path / "a.nii", np.stack(volumes, axis=-1))
    refuse(model_folder, path, 4, "3 time points", "--frame")
    refuse(model_folder, path, 4, "frame 3", options=("--frame", "3"))
    np.testing.assert_array_equal(read_volume(path, ReadOptions(frame=1)).voxels, volumes[1])
    source = accept(model_folder, path, "--frame", "2")["source"]
    assert source["sha256"] == volume_sha256(read_volume(ct_file(tmp_path / "b.nii", volumes[2])))


def test_06_voxels_that_are_no_numbers_are_counted_or_become_air(model_folder, tmp_path):
    voxels = ct_volume().voxels.astype(np.float32)
    voxels[1, 2, 3], voxels[4, 5, 6], voxels[7, 8, 9] = np.nan, np.inf, -np.inf
    path = ct_file(tmp_path / "a.nii", voxels)
    refuse(model_folder, path, 4, "3 of its 1430", "--nan air")
    record = accept(model_folder, path, "--nan", "air")
    assert any("3 voxels were not finite" in warning for warning in record["warnings"])
    read = read_volume(path, ReadOptions(nan="air")).voxels
    assert read[1, 2, 3] == read[4, 5, 6] == read[7, 8, 9] == -1024


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.full((9, 9, 9), 40, np.int16), "every voxel is 40"),
        (np.arange(-1024, -1024 + 729 // 9).repeat(9).reshape(9, 9, 9).astype(np.int16), "air"),
        (np.full((9, 9, 9), -2000, np.int16), "padding"),
    ],
)
def test_07_volumes_of_nothing_are_refused_with_their_values(model_folder, tmp_path, voxels, words):
    refuse(model_folder, ct_file(tmp_path / "a.nii", voxels), 4, words, "--force")


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.random.default_rng(0).random((9, 9, 9)).astype(np.float32), "normalized"),
        (np.random.default_rng(0).integers(0, 256, (9, 9, 9), np.uint8), "8-bit"),
        (np.random.default_rng(0).integers(0, 4, (9, 9, 9)).astype(np.int16), "distinct values"),
        (np.random.default_rng(0).integers(0, 900, (9, 9, 9)).astype(np.int16), "no value is neg"),
    ],
)
def test_08_what_is_not_ct_is_refused_and_can_be_forced(model_folder, tmp_path, voxels, words):
    path = ct_file(tmp_path / "a.nii", voxels)
    refuse(model_folder, path, 4, words, "--force")
    accept(model_folder, path, "--force")


def test_08_a_crop_without_air_is_ct(model_folder, tmp_path, real_data):
    voxels = np.random.default_rng(0).normal(40, 30, (9, 9, 9)).astype(np.int16)
    accept(model_folder, ct_file(tmp_path / "a.nii", voxels))
    crop = read_volume(real_data / "nifti" / "spine_crop_pir.nii.gz")
    assert np.mean(crop.voxels < -500) < 0.01


def test_09_a_lost_intercept_is_seen_and_corrected(model_folder, tmp_path):
    good = ct_volume()
    path = ct_file(tmp_path / "a.nii", good.voxels + np.int16(1024))
    refuse(model_folder, path, 4, "HU + 1024", "--hu-offset -1024")
    accept(model_folder, path, "--hu-offset", "-1024")
    np.testing.assert_array_equal(
        read_volume(path, ReadOptions(hu_offset=-1024)).voxels, good.voxels
    )


@pytest.mark.parametrize("padding", [-2000, -2048, -3024])
def test_10_padding_becomes_air_and_is_recorded(model_folder, tmp_path, padding):
    voxels = ct_volume().voxels.copy()
    voxels[0] = padding
    path = ct_file(tmp_path / "a.nii", voxels)
    volume = read_volume(path)
    assert (volume.voxels[0] == -1024).all()
    assert volume.outside_fov[0].all()
    assert not volume.outside_fov[1:].any()
    record = accept(model_folder, path)
    assert record["preprocess"]["outside_fov"] == pytest.approx(1 / 13)
    assert any(str(padding) in warning for warning in record["warnings"])


def test_11_metal_is_clipped_and_its_share_recorded(model_folder, tmp_path):
    voxels = ct_volume().voxels.copy()
    voxels[5, 5, 2:6] = [3072, 8000, 20000, 30000]
    path = ct_file(tmp_path / "a.nii", voxels)
    np.testing.assert_array_equal(read_volume(path).voxels, voxels)
    steps = accept(model_folder, path)["preprocess"]
    assert steps["clipped_above"] == pytest.approx(4 / voxels.size)
    assert steps["window_hu"] == [-1000, 1000]
    codec = ct_vae.load_codec(model_folder, "cpu")
    prepared = codec.preprocessor(read_volume(path), codec.network.factor).tensor
    assert prepared.max() == 1


def test_12_unusable_affines_are_refused(model_folder, tmp_path):
    for k, affine in enumerate((np.diag([1.0, 1, 0, 1]), np.diag([1.0, np.nan, 1, 1]))):
        rows = dict(zip(("srow_x", "srow_y", "srow_z"), affine, strict=False))
        refuse(model_folder, ct_file(tmp_path / f"{k}.nii", **rows), 4)
    zero = {f"srow_{axis}": [0, 0, 0, 0] for axis in "xyz"}
    refuse(model_folder, ct_file(tmp_path / "z.nii", **zero), 4)
    lost = ct_file(tmp_path / "lost.nii", sform_code=0, qform_code=0)
    refuse(model_folder, lost, 4, "no orientation", "--assume-ras")
    accept(model_folder, lost, "--assume-ras")
    taken = read_volume(lost, ReadOptions(assume_ras=True)).grid
    np.testing.assert_allclose(taken.affine, np.diag([1.5, 2.0, 2.5, 1]))


def test_12_the_sform_counts_before_the_qform_and_disagreement_is_reported(model_folder, tmp_path):
    moved = ct_file(tmp_path / "a.nii", srow_x=[1.5, 0, 0, 40])
    volume = read_volume(moved)
    np.testing.assert_allclose(volume.grid.affine, nib.load(moved).affine)
    assert volume.grid.affine[0, 3] == 40
    record = accept(model_folder, moved)
    assert any("disagree by up to 40 mm" in warning for warning in record["warnings"])
    by_qform = ct_file(tmp_path / "q.nii", sform_code=0, srow_x=[1.5, 0, 0, 40])
    np.testing.assert_allclose(read_volume(by_qform).grid.affine, nib.load(by_qform).affine)
    assert read_volume(by_qform).grid.affine[0, 3] == 0


def test_13_a_little_shear_comes_back_and_more_needs_consent(model_folder, tmp_path):
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    affine[0, 1] = 2.0 * 0.008
    path = ct_file(tmp_path / "a.nii", affine=affine, qform_code=0)
    accept(model_folder, path)
    latent = tmp_path / "accepted" / "a_latent.nii.gz"
    axes = nib.load(latent).affine[:3, :3]
    unit = axes / np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(unit.T @ unit, np.eye(3), atol=1e-6)
    assert call("decode", model_folder, latent, "-o", tmp_path)[0] == 0
    decoded = nib.load(tmp_path / "a_decoded.nii.gz").affine
    np.testing.assert_allclose(decoded, nib.load(path).affine, atol=1e-6)
    affine[0, 1] = 2.0 * 0.2
    sheared = ct_file(tmp_path / "b.nii", affine=affine, qform_code=0)
    refuse(model_folder, sheared, 4, "sheared", "--resample-irregular")
    assert read_volume(sheared, ReadOptions(resample_irregular=True)).grid.shear < 1e-6


def test_14_every_orientation_comes_back_with_its_array_and_affine(model_folder, tmp_path):
    base, codec = ct_volume((9, 6, 7)), ct_vae.load_codec(model_folder, "cpu")
    for axcodes in ALL_AXCODES:
        voxels = base.grid.reorient_array(base.voxels, axcodes)
        affine = base.grid.reorient(axcodes).affine
        path = ct_file(tmp_path / "a.nii", voxels, affine)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.voxels, voxels)
        prepared = codec.preprocessor(volume, codec.network.factor)
        back = restore(prepared.tensor[0, 0], prepared.record, volume.grid)
        np.testing.assert_allclose(back.voxels, np.clip(voxels, -1000, 1000), atol=1e-3)
        write_volume(back, tmp_path / "b.nii")
        written = nib.load(tmp_path / "b.nii")
        np.testing.assert_array_equal(written.affine, nib.load(path).affine)
    assert len(ALL_AXCODES) == 48
    handed = [np.linalg.det(base.grid.reorient(a).affine[:3, :3]) > 0 for a in ALL_AXCODES]
    assert sum(handed) == 24


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((33, 30, 10), (0.4, 0.4, 5.0)), ((3, 2, 1), (1, 1, 1)), ((5, 17, 4), (0.7, 0.7, 2))],
)
@pytest.mark.parametrize("tiling", ["exact", "blend"])
def test_15_odd_sides_are_padded_and_cropped_back(model_folder, tmp_path, shape, spacing, tiling):
    volume = ct_volume(shape, np.diag([*spacing, 1.0]))
    path = ct_file(tmp_path / "a.nii", volume.voxels, volume.grid.affine)
    options = ("--tiling", tiling, *(("--tile", "16") if tiling == "blend" else ()), "--force")
    accept(model_folder, path, *options)
    latent = tmp_path / "accepted" / "a_latent.nii.gz"
    assert read_latent(latent).grid.shape == tuple(-(-n // 4) for n in shape)
    assert call("decode", model_folder, latent, "-o", tmp_path)[0] == 0
    back = nib.load(tmp_path / "a_decoded.nii.gz")
    assert back.shape == shape
    np.testing.assert_array_equal(back.affine, nib.load(path).affine)
    # What the model would have to give back, and what becomes of it.
    codec = ct_vae.load_codec(model_folder, "cpu")
    prepared = codec.preprocessor(read_volume(path, ReadOptions(force=True)), codec.network.factor)
    same = restore(prepared.tensor[0, 0], prepared.record, volume.grid)
    np.testing.assert_allclose(same.voxels, np.clip(volume.voxels, -1000, 1000), atol=1e-3)
