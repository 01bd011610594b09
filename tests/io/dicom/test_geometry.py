import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.io import read_volume, scan_series
from ct_vae.io.dicom.geometry import stack_slices
from tests.io._series import (
    COLUMN,
    ORIGIN,
    ROW,
    STEP_MM,
    hounsfield,
    lps_affine,
    make_series,
    write_series,
)
from tests.io.dicom._irregular import CONSENT, EVEN, refusal


def test_order_is_by_position_and_nothing_else(tmp_path):
    slices = make_series()
    for k, dataset in enumerate(slices):
        dataset.InstanceNumber = (k * 5) % 8
        dataset.SliceLocation = -k
        dataset.GantryDetectorTilt = 18.5 * (-1) ** k
        dataset.SpacingBetweenSlices = 99
    write_series(tmp_path, slices, lambda k: f"{(k * 3) % 8}.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())
    for dataset in slices:
        for tag in ("InstanceNumber", "SliceLocation", "SliceThickness"):
            delattr(dataset, tag)
    write_series(tmp_path, slices, lambda k: f"{(k * 3) % 8}.dcm")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    np.testing.assert_allclose(volume.grid.affine, lps_affine(), atol=1e-9)


@pytest.mark.parametrize(
    ("orientation", "axcodes"),
    [
        ((1, 0, 0, 0, 1, 0), "LPS"),
        ((-1, 0, 0, 0, -1, 0), "RAS"),
        ((0, 1, 0, 0, 0, -1), "PIR"),
        ((1, 0, 0, 0, 0, -1), "LIP"),
        ((0, -1, 0, 1, 0, 0), "ALS"),
    ],
)
def test_any_plane_is_placed_by_the_standard(tmp_path, orientation, axcodes):
    folder = write_series(tmp_path, make_series(orientation=orientation))
    volume = read_volume(folder)
    assert volume.grid.axcodes == axcodes
    np.testing.assert_allclose(volume.grid.affine, lps_affine(orientation), atol=1e-9)
    np.testing.assert_array_equal(volume.voxels, hounsfield())


@pytest.mark.parametrize(("by", "told"), [(0.001, False), (-0.02, True)])
def test_rounding_of_a_place_leaves_the_grid_between_first_and_last(tmp_path, by, told):
    positions = EVEN.copy()
    positions[3] += by
    volume = read_volume(write_series(tmp_path, make_series(positions=positions)))
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    np.testing.assert_allclose(volume.grid.affine, lps_affine(), atol=1e-9)
    assert bool(volume.warnings) == told
    if told:
        assert "up to 0.02 mm along their normal (0.008 of a spacing)" in volume.warnings[0]


NEARLY_EVEN = {
    "one decimal at 0.625 mm": np.round(np.arange(24) * 0.625, 1),
    "one decimal at 1.25 mm": np.round(np.arange(24) * 1.25, 1),
    "pairs": np.cumsum([0, *[2.4, 2.6] * 10]),
    "jitter": np.arange(24) + np.random.default_rng(1).uniform(-0.05, 0.05, 24),
    "little jitter": np.arange(24) + np.random.default_rng(2).uniform(-0.01, 0.01, 24),
    "one slice": EVEN + 0.35 * (np.arange(8) == 4),
    "slow drift": np.arange(30) * 2.5 + 0.0005 * np.arange(30) ** 2,
}


@pytest.mark.parametrize("consent", [None, CONSENT])
@pytest.mark.parametrize("name", NEARLY_EVEN)
def test_nearly_even_places_are_regular_and_reported(tmp_path, name, consent):
    positions = NEARLY_EVEN[name]
    count = len(positions)
    folder = write_series(tmp_path, make_series(count, positions=positions))
    volume = read_volume(folder, consent)
    # Consent to resampling interpolates nothing here.
    np.testing.assert_array_equal(volume.voxels, hounsfield(count))
    assert volume.voxels.dtype == np.int16
    assert "resampled_irregular" not in volume.source
    places = volume.grid.to_world([(0, 0, k) for k in range(count)])[:, 2]
    off = np.abs(places - ORIGIN[2] - positions).max()
    assert off <= 0.15 * volume.grid.spacing_mm[2]
    # No line is nearer to all places than that of least squares, but for the largest of them.
    spacing = np.polyfit(np.arange(count), positions, 1)[0]
    assert volume.grid.spacing_mm[2] == pytest.approx(spacing, rel=0.01)
    (told,) = volume.warnings
    assert f"up to {off:.2g} mm along their normal" in told


def test_jitter_within_the_plane_is_regular_and_reported(tmp_path):
    points = np.asarray(ORIGIN) + np.outer(EVEN, (0, 0, 1.0))
    points[:, :2] += np.random.default_rng(0).uniform(-0.05, 0.05, (8, 2))
    volume = read_volume(write_series(tmp_path, make_series(positions=points)), CONSENT)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert volume.grid.shear < 0.01
    assert "in their plane" in volume.warnings[0]


@given(
    st.integers(5, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 2))),
    st.integers(0, 1000),
    st.floats(0, 0.06),
)
def test_no_jitter_hides_a_missing_slice(which, seed, jitter):
    count, gap = which
    along = np.delete(np.arange(count), gap) * STEP_MM
    along = along + np.random.default_rng(seed).uniform(-jitter, jitter, count - 1) * STEP_MM
    points = np.asarray(ORIGIN) + np.outer(along, (0, 0, 1.0))
    stack = stack_slices(points, (*ROW, *COLUMN), (0.75, 0.5), (10, 12))
    assert stack.fault is not None


def test_rounded_positions_are_even(tmp_path):
    rounded = np.round(np.arange(30) * (5 / 7), 2)
    folder = write_series(tmp_path, make_series(30, positions=rounded))
    assert read_volume(folder).grid.spacing_mm[2] == pytest.approx(5 / 7, rel=1e-3)


@pytest.mark.parametrize("degrees", [0.7, -18.5, 18.5, 30])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_tilted_gantry_is_refused_whatever_its_sign(tmp_path, degrees, axis):
    points = np.tile(np.asarray(ORIGIN), (8, 1))
    points[:, 2] += EVEN
    points[:, axis] += EVEN * np.tan(np.deg2rad(degrees))
    text = refusal(tmp_path, make_series(positions=points))
    assert f"tilted by {abs(degrees):.2f} degrees" in text
    assert "100.000" in text
    assert "117.500" in text


def test_tilt_below_rounding_is_kept_in_the_affine(tmp_path):
    points = np.asarray(ORIGIN) + np.outer(np.arange(8), (0, 0.01, 2.5))
    grid = read_volume(write_series(tmp_path, make_series(positions=points))).grid
    np.testing.assert_allclose(grid.affine, lps_affine(step=(0, 0.01, 2.5)), atol=1e-9)


@pytest.mark.parametrize(("by", "straight"), [(0.02, True), (0.1, False)])
def test_a_slice_may_be_out_of_line_by_a_small_part_of_a_pixel(tmp_path, by, straight):
    """A twentieth of the smaller side of a pixel, 0.5 mm, leaves the grid as it is."""
    points = np.asarray(ORIGIN) + np.outer(EVEN, (0, 0, 1.0))
    points[5, 1] += by
    slices = make_series(positions=points)
    if straight:
        volume = read_volume(write_series(tmp_path, slices))
        np.testing.assert_allclose(volume.grid.affine, lps_affine(), atol=1e-9)
    else:
        assert "not in line: those at 112.500" in refusal(tmp_path, slices)


def test_rounded_directions_are_made_perpendicular(tmp_path):
    slices = make_series(orientation=(1, 0, 0, 0.0008, 1, 0))
    grid = read_volume(write_series(tmp_path, slices)).grid
    assert grid.shear < 1e-12
    np.testing.assert_allclose(grid.affine, lps_affine(), atol=1e-9)


def test_one_slice_out_of_line_is_refused_with_its_place(tmp_path):
    points = np.tile(np.asarray(ORIGIN), (8, 1))
    points[:, 2] += EVEN
    points[5, 0] += 0.4
    text = refusal(tmp_path, make_series(positions=points))
    assert "not in line: those at 112.500" in text
    assert "0.4 mm" in text


def test_all_slices_at_one_place_are_refused(tmp_path):
    text = refusal(tmp_path, make_series(positions=np.zeros(8)))
    assert "all of its 8 slices are at one position, 100.000 mm" in text
    assert "all of its 8" in refusal(tmp_path, make_series(positions=np.zeros(8)), CONSENT)


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
@pytest.mark.parametrize("which", [[0], [3], range(8)])
@pytest.mark.parametrize("empty", [False, True])
def test_slices_without_a_place_are_refused(tmp_path, keyword, which, empty):
    slices = make_series()
    for k in which:
        if empty:
            setattr(slices[k], keyword, None)
        else:
            delattr(slices[k], keyword)
    text = refusal(tmp_path, slices, CONSENT)
    assert f"{len(list(which))} of 8 slices lack {keyword}" in text


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
        ("ImageOrientationPatient", [1.005, 0, 0, 0, 1, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0.995, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 0.005, 1, 0]),
        ("PixelSpacing", [0, 0.5]),
        ("PixelSpacing", [-0.5, 0.5]),
    ],
)
def test_impossible_directions_and_spacings_are_refused(tmp_path, keyword, value):
    slices = make_series()
    for dataset in slices:
        setattr(dataset, keyword, value)
    refusal(tmp_path, slices, CONSENT)


def test_impossible_directions_of_some_slices_concern_their_series_alone(tmp_path):
    slices = make_series()
    for dataset in slices[4:]:
        dataset.ImageOrientationPatient = [2, 0, 0, 0, 2, 0]
    write_series(tmp_path / "bad", slices)
    good = make_series()
    for dataset in good:
        dataset.SeriesInstanceUID += ".5"
    write_series(tmp_path / "good", good)
    assert sorted(each.verdict for each in scan_series(tmp_path)) == ["ok", "refused"]


@given(st.permutations(range(8)))
def test_no_order_of_files_changes_anything(order):
    points = np.asarray(ORIGIN) + np.outer(EVEN, (0, 0, 1.0))
    stack = stack_slices(points[list(order)], (*ROW, *COLUMN), (0.75, 0.5), (10, 12))
    assert [order[i] for i in stack.order] == list(range(8))
    assert stack.fault is None
    np.testing.assert_allclose(stack.grid.affine, lps_affine(), atol=1e-9)


@given(st.integers(0, 7), st.floats(0.5, 5), st.integers(0, 2), st.sampled_from([-1, 1]))
def test_a_moved_slice_is_never_on_a_regular_grid(which, by, axis, sign):
    """Well beyond the tolerance of 0.15 of a spacing along the normal, and of a pixel within."""
    points = np.asarray(ORIGIN) + np.outer(EVEN, (0, 0, 1.0))
    points[which, axis] += sign * by * 2
    taken = np.abs(np.subtract.outer(points[:, 2], points[:, 2]) + np.eye(8) * 9).min() < 0.4
    try:
        stack = stack_slices(points, (*ROW, *COLUMN), (0.75, 0.5), (10, 12))
    except InputError:
        return
    # An end slice may come to lie near its place beyond the other end.
    spread = np.ptp(np.diff(stack.distances_mm)) < 0.3 * STEP_MM
    assert stack.fault is not None or taken or (axis == 2 and which in (0, 7) and spread)


@given(
    st.integers(3, 30),
    st.integers(0, 10_000),
    st.floats(0.01, 0.1499),
    st.floats(0.3, 5),
)
def test_slices_that_are_within_the_tolerance_of_some_grid_are_regular(count, seed, part, step):
    along = step * np.arange(count) + part * step * np.random.default_rng(seed).uniform(
        -1, 1, count
    )
    points = np.asarray(ORIGIN) + np.outer(along, (0, 0, 1.0))
    stack = stack_slices(points, (*ROW, *COLUMN), (0.75, 0.5), (10, 12))
    assert stack.fault is None
    places = stack.grid.to_world([(0, 0, k) for k in range(count)])[:, 2] - ORIGIN[2]
    assert np.abs(places - along).max() <= max(0.15 * stack.grid.spacing_mm[2], 0.01) + 1e-6


@given(st.integers(4, 20), st.integers(0, 10_000))
def test_the_grid_of_slices_that_barely_fit_is_the_nearest_that_there_is(count, seed):
    """Beside a search through all grids of two free numbers."""
    along = np.arange(count) + np.random.default_rng(seed).uniform(-0.17, 0.17, count)
    points = np.asarray(ORIGIN) + np.outer(along, (0, 0, 1.0))
    stack = stack_slices(points, (*ROW, *COLUMN), (0.75, 0.5), (10, 12))
    steps = np.linspace(0.8, 1.2, 801)[:, None]
    best = (np.ptp(along - steps * np.arange(count), axis=1) / 2 / steps[:, 0]).min()
    if best < 0.149:
        assert stack.fault is None
    if best > 0.151:
        assert stack.fault is not None
