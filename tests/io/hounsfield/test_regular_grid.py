import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, read_volume, write_volume
from ct_vae.io.hounsfield.regular_grid import resample_sheared, resample_to_regular_grid
from ct_vae.volume import AIR_HU, Volume
from tests._strategies import ALL_AXCODES
from tests.io._series import (
    ORIGIN,
    STEP_MM,
    assert_nothing_identifying,
    hounsfield,
    make_series,
    set_stored,
    told_by,
    write_series,
)

CONSENT = ReadOptions(resample_irregular=True)
SPACING_MM = np.array([0.5, 0.75, 2.5])


def linear(points):
    """A field that linear interpolation reproduces: HU from RAS+ positions in mm."""
    return 100 + points @ np.array([3.0, -2.0, 5.0])


def sampled(shape, affine):
    grid = Grid(shape, affine)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return Volume(linear(grid.to_world(index)).astype(np.float32), grid)


def sheared(shape, step, turn=0.3):
    """A volume whose third axis is not perpendicular to its slices, at an oblique place."""
    c, s = np.cos(turn), np.sin(turn)
    affine = np.eye(4)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine[:3, :3] = rotation @ np.stack([[0.5, 0, 0], [0, 0.75, 0], step], axis=1)
    affine[:3, 3] = [-30, 40, 7]
    return sampled(shape, affine)


def check_linear(volume):
    """Every voxel inside the field of view has the value of its place, those outside are air."""
    outside = volume.outside_fov if volume.outside_fov is not None else np.zeros_like(volume.voxels)
    outside = outside.astype(bool)
    index = np.argwhere(~outside)
    expected = linear(volume.grid.to_world(index))
    # Positions within the thousandth of a step that counts as nothing.
    np.testing.assert_allclose(volume.voxels[~outside], expected, atol=0.03)
    assert (volume.voxels[outside] == AIR_HU).all()
    return outside


@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([2.5, -2.5]))
def test_shear_is_undone_exactly_for_a_linear_field(dx, dy, dz):
    source = sheared((20, 18, 6), [dx, dy, dz])
    straight = resample_sheared(source)
    assert straight.grid.shear < 1e-9
    outside = check_linear(straight)
    assert straight.grid.shape[2] == 6
    seen = (~outside).sum(axis=(0, 1))
    # Whatever a slice has to be moved by parts of pixels, it loses one row and column at most.
    assert (seen >= 19 * 17).all()
    for corner in source.grid.corners_mm():
        place = straight.grid.to_index(corner)
        assert (place > -0.01).all()
        assert (place < np.array(straight.grid.shape) - 0.99).all()


@pytest.mark.parametrize("axcodes", ALL_AXCODES)
def test_shear_is_undone_in_any_order_of_axes(axcodes):
    source = sheared((7, 6, 5), [0.9, 0.4, 2.5], turn=0.1)
    grid = source.grid.reorient(axcodes)
    turned = Volume(source.grid.reorient_array(source.voxels, axcodes), grid)
    straight = resample_sheared(turned)
    assert straight.grid.shear < 1e-9
    check_linear(straight)
    assert straight.grid.axcodes == axcodes


def test_itk_resamples_a_sheared_series_to_the_same():
    source = sheared((20, 18, 9), [0, 1.1, 2.5], turn=0)
    rng = np.random.default_rng(0)
    noisy = Volume(rng.normal(0, 300, source.grid.shape).astype(np.float32), source.grid)
    straight = resample_sheared(noisy)
    size = [int(n) for n in straight.grid.shape]
    spacing, origin, direction = straight.grid.to_lps()
    image = SimpleITK.GetImageFromArray(noisy.voxels.transpose())
    # ITK takes no sheared direction, so the shear becomes a transform.
    inverse = np.linalg.inv(noisy.grid.affine) @ np.diag([-1, -1, 1, 1])
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(inverse[:3, :3].ravel().tolist())
    transform.SetTranslation(inverse[:3, 3].tolist())
    oracle = SimpleITK.Resample(
        image, size, transform, SimpleITK.sitkLinear, origin, spacing, direction, AIR_HU
    )
    seen = ~straight.outside_fov
    expected = SimpleITK.GetArrayFromImage(oracle).transpose()
    np.testing.assert_allclose(straight.voxels[seen], expected[seen], atol=0.5)


@given(
    st.lists(st.floats(0.3, 6), min_size=4, max_size=9),
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=10, max_size=10),
)
def test_uneven_and_displaced_slices_are_put_in_place(steps, moves):
    distances = np.concatenate([[0], np.cumsum(steps)])
    offsets = np.array([(*moves[k], d) for k, d in enumerate(distances)])
    offsets[0, :2] = 0
    affine = np.diag([-0.5, -0.75, 2.5, 1])
    grid = Grid((9, 8, len(distances)), affine)
    unit = np.stack([grid.direction[:, 0], grid.direction[:, 1], [0, 0, 1]], axis=1)
    index = np.stack(np.meshgrid(range(9), range(8), [0], indexing="ij"), axis=-1)
    planes = [linear(grid.to_world(index) + unit @ o)[:, :, 0] for o in offsets]
    source = Volume(np.stack(planes, axis=-1).astype(np.float32), grid)
    try:
        straight = resample_to_regular_grid(source, offsets)
    except InputError:
        return
    assert straight.grid.spacing_mm[2] <= 1.2 * np.sort(steps)[(len(steps) + 3) // 4]
    index = np.argwhere(~outside_of(straight))
    expected = linear(straight.grid.to_world(index))
    np.testing.assert_allclose(straight.voxels[~outside_of(straight)], expected, atol=0.1)


def outside_of(volume):
    return (
        volume.outside_fov if volume.outside_fov is not None else np.zeros(volume.grid.shape, bool)
    )


def test_a_gap_is_filled_and_all_else_kept_as_it_is(tmp_path):
    slices = make_series()
    del slices[3]
    volume = read_volume(write_series(tmp_path, slices), CONSENT)
    whole = hounsfield()
    assert volume.grid.shape == whole.shape
    assert volume.grid.spacing_mm[2] == pytest.approx(STEP_MM)
    kept = [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(volume.voxels[:, :, kept], whole[:, :, kept])
    between = (whole[:, :, 2].astype(float) + whole[:, :, 4]) / 2
    np.testing.assert_allclose(volume.voxels[:, :, 3], between, atol=1e-3)
    assert volume.source["resampled_irregular"]["interpolated_slices"] == 1
    assert "1 of 8 slices at 2.5 mm are interpolated" in volume.warnings[-1]
    assert_nothing_identifying(told_by(volume))


def test_a_tilted_series_is_moved_within_its_slices(tmp_path):
    points = np.tile(np.asarray(ORIGIN), (8, 1))
    points[:, 2] += np.arange(8) * STEP_MM
    # Two rows of 0.75 mm per slice: nothing is interpolated, everything only moved.
    points[:, 1] += np.arange(8) * 1.5
    folder = write_series(tmp_path, make_series(positions=points))
    volume = read_volume(folder, CONSENT)
    assert volume.grid.shape == (10, 12 + 14, 8)
    for k in range(8):
        part = slice(2 * k, 2 * k + 12)
        np.testing.assert_array_equal(volume.voxels[:, part, k], hounsfield()[:, :, k])
        assert not volume.outside_fov[:, part, k].any()
        rest = np.delete(volume.voxels[:, :, k], range(part.start, part.stop), axis=1)
        assert (rest == AIR_HU).all()
    first = volume.grid.to_world([0, 0, 0])
    np.testing.assert_allclose(first, [-ORIGIN[0], -ORIGIN[1], ORIGIN[2]])
    np.testing.assert_allclose(volume.grid.direction[:, 2], [0, 0, 1], atol=1e-12)


def test_padding_is_never_mixed_into_tissue(tmp_path):
    points = np.tile(np.asarray(ORIGIN), (8, 1))
    points[:, 2] += np.array([0, 2.5, 5, 7.5, 12.5, 15, 17.5, 20])
    points[:, 0] += np.arange(8) * 0.8
    slices = make_series(positions=points)
    for k, dataset in enumerate(slices):
        stored = np.full((12, 10), 1064)
        stored[:, 7:] = -2000
        stored += np.random.default_rng(k).integers(-9, 9, stored.shape) * (stored > 0)
        set_stored(dataset, stored)
        dataset.add_new("PixelPaddingValue", "SS", -2000)
    volume = read_volume(
        write_series(tmp_path, slices), ReadOptions(force=True, resample_irregular=True)
    )
    seen = volume.voxels[~volume.outside_fov]
    assert seen.min() > 0
    assert (volume.voxels[volume.outside_fov] == AIR_HU).all()
    # Seven columns, less one where a shift is not whole and two where slices are blended.
    assert ((~volume.outside_fov).sum(axis=(0, 1)) >= 12 * 4).all()


def test_what_would_mostly_be_made_up_is_refused(tmp_path):
    for name, points in {
        "far": [0, 2.5, 5, 7.5, 10, 12.5, 15, 300],
        "aside": np.asarray(ORIGIN) + np.outer(np.arange(8), (60.0, 0, 2.5)),
    }.items():
        with pytest.raises(InputError, match="too irregular"):
            read_volume(write_series(tmp_path / name, make_series(positions=points)), CONSENT)


@pytest.mark.parametrize(("last", "refused"), [(70, False), (90, True)])
def test_a_result_may_be_four_times_as_large(tmp_path, last, refused):
    folder = write_series(tmp_path, make_series(positions=[0, 2.5, 5, 7.5, 10, 12.5, 15, last]))
    if refused:
        with pytest.raises(InputError, match="too irregular"):
            read_volume(folder, CONSENT)
    else:
        assert read_volume(folder, CONSENT).grid.shape[2] == last / 2.5 + 1


def test_the_real_sheared_phantom_is_straightened_with_consent(real_data):
    path = real_data / "nifti" / "head_phantom_sheared.nii.gz"
    with pytest.raises(InputError, match="--resample-irregular"):
        read_volume(path)
    volume = read_volume(path, ReadOptions(resample_irregular=True, force=True))
    assert volume.grid.shear < 1e-9
    assert "tilt of 18.50 degrees" in volume.warnings[-1]
    affine = nib.load(path).affine
    source = nib.load(path).get_fdata()
    middle = np.array([150, 200, 27])
    place = volume.grid.to_index(affine[:3, :3] @ middle + affine[:3, 3])
    around = volume.voxels[tuple(slice(int(np.floor(p)), int(np.floor(p)) + 2) for p in place)]
    assert around.min() - 1 <= source[tuple(middle)] <= around.max() + 1


@pytest.mark.parametrize("suffix", ["mha", "nrrd", "nii.gz"])
def test_sheared_files_of_any_format_are_straightened_with_consent(tmp_path, suffix):
    source = sheared((9, 8, 6), [0.3, 0.8, 2.5])
    voxels = (source.voxels * 8 - 700).astype(np.int16)
    path = tmp_path / f"a.{suffix}"
    write_volume(Volume(voxels, source.grid), path)
    with pytest.raises(InputError, match="--resample-irregular"):
        read_volume(path, ReadOptions(force=True))
    volume = read_volume(path, ReadOptions(resample_irregular=True, force=True))
    assert volume.grid.shear < 1e-5
    assert "resampled_irregular" in volume.source


def test_axes_sheared_in_every_plane_are_refused():
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0.3, 0.3], [0, 1, 0.3], [0, 0, 1]]
    with pytest.raises(InputError, match="no two of its axes are orthogonal"):
        resample_sheared(sampled((4, 4, 4), affine))
