import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from tests._asserts import assert_same_place
from tests._strategies import ALL_AXCODES, affines, axcodes, factors, grids


def banal_world(affine, index):
    return [sum(affine[r, c] * index[c] for c in range(3)) + affine[r, 3] for r in range(3)]


@given(grids(shear=0.2), st.tuples(*[st.floats(-10, 50)] * 3))
def test_to_world_is_the_affine_and_to_index_undoes_it(grid, index):
    np.testing.assert_allclose(grid.to_world(index), banal_world(grid.affine, index), atol=1e-9)
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-8)


@given(grids(), factors)
def test_refine_undoes_coarsen(grid, factor):
    fine = grid.refine(factor)
    assert_same_place(fine.coarsen(factor), grid)
    assert_same_place(fine.coarsen(factor).refine(factor), fine)


@given(grids(), factors, st.data())
def test_a_coarse_point_is_the_mean_of_its_block(grid, factor, data):
    fine = grid.refine(factor)
    coarse_index = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    block = [range(c * f, (c + 1) * f) for c, f in zip(coarse_index, factor, strict=True)]
    members = np.stack(np.meshgrid(*block, indexing="ij"), axis=-1).reshape(-1, 3)
    mean = fine.to_world(members).mean(axis=0)
    np.testing.assert_allclose(fine.coarsen(factor).to_world(coarse_index), mean, atol=1e-6)


@given(grids(), axcodes)
def test_reorientation_moves_no_voxel_in_the_world(grid, codes):
    turned = grid.reorient(codes)
    labels = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    moved = grid.reorient_array(labels, codes)
    assert moved.shape == turned.shape
    for index in np.ndindex(*(min(3, n) for n in turned.shape)):
        origin = np.unravel_index(int(moved[index]), grid.shape)
        np.testing.assert_allclose(turned.to_world(index), grid.to_world(origin), atol=1e-8)
    np.testing.assert_array_equal(grid.restore_array(moved, codes), labels)


@pytest.mark.parametrize("source", ALL_AXCODES)
def test_all_48_orientations_reach_all_others(source):
    base = Grid((3, 5, 7), np.diag([1.0, 2.0, 3.0, 1.0])).reorient(source)
    assert base.axcodes == source
    for target in ALL_AXCODES:
        assert base.reorient(target).axcodes == target
        assert_same_place(base.reorient(target).reorient(source), base, 1e-9)


@given(grids(), st.data())
def test_crop_keeps_positions_and_pad_undoes_it(grid, data):
    start = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True)]
    part = grid.crop(start, stop)
    assert part.shape == tuple(b - a for a, b in zip(start, stop, strict=True))
    np.testing.assert_allclose(part.to_world([0, 0, 0]), grid.to_world(start), atol=1e-9)
    after = np.subtract(grid.shape, stop)
    assert_same_place(part.pad(start, after), grid)


@given(grids())
def test_lps_door_agrees_with_simpleitk(grid):
    spacing, origin, direction = grid.to_lps()
    image = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    index = [0.5, 2.0, -3.0]
    lps = np.array(image.TransformContinuousIndexToPhysicalPoint(index))
    np.testing.assert_allclose(grid.to_world(index), lps * [-1, -1, 1], atol=1e-6)
    assert_same_place(Grid.from_lps(grid.shape, spacing, origin, direction), grid)


@given(affines(shear=0.3))
def test_orthonormal_has_no_shear_and_keeps_center_and_spacing(affine):
    grid = Grid((7, 8, 9), affine)
    straight = grid.orthonormal()
    assert straight.shear < 1e-12
    np.testing.assert_allclose(straight.spacing_mm, grid.spacing_mm, rtol=1e-12)
    np.testing.assert_allclose(straight.to_world([3, 3.5, 4]), grid.to_world([3, 3.5, 4]))


@given(grids())
def test_orthonormal_leaves_an_orthogonal_grid_alone(grid):
    assert_same_place(grid.orthonormal(), grid)


def test_shear_is_the_cosine_between_axes():
    tilt = np.radians(18.5)
    affine = np.eye(4)
    affine[1, 2] = np.tan(tilt)
    assert Grid((2, 2, 2), affine).shear == pytest.approx(np.sin(tilt))


def test_equal_grids_are_equal_and_hash_alike():
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    assert Grid((1, 2, 3), affine) == Grid((1, 2, 3), affine.copy())
    assert hash(Grid((1, 2, 3), affine)) == hash(Grid((1, 2, 3), affine.copy()))
    assert Grid((1, 2, 3), affine) != Grid((1, 2, 4), affine)


def test_a_grid_cannot_be_changed_through_its_affine():
    affine = np.eye(4)
    grid = Grid((1, 1, 1), affine)
    affine[0, 3] = 7
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.zeros((4, 4)), "last row"),
        (np.diag([1, 1, 0, 1]), "singular"),
        (np.diag([1, np.nan, 1, 1]), "not finite"),
        (np.eye(3), "4 x 4"),
        (np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
    ],
)
def test_affines_that_place_nothing_are_refused(affine, words):
    with pytest.raises(InputError, match=words):
        Grid((2, 2, 2), affine)


def test_tiny_and_huge_spacings_are_not_taken_for_singular():
    assert Grid((1, 1, 1), np.diag([1e-4, 1e-4, 1e-4, 1])).spacing_mm == (1e-4,) * 3
    assert Grid((1, 1, 1), np.diag([1e3, 1e-3, 1, 1])).shear == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: g.coarsen(4), "not multiples"),
        (lambda g: g.coarsen(0), "at least 1"),
        (lambda g: g.crop((0, 0, 0), (9, 9, 99)), "is empty or outside a grid"),
        (lambda g: g.crop((1, 0, 0), (1, 2, 2)), "is empty or outside a grid"),
        (lambda g: g.pad((-1, 0, 0), (0, 0, 0)), "negative"),
        (lambda g: g.reorient("RAL"), "three anatomical axes"),
        (lambda g: g.reorient("RA"), "three anatomical axes"),
        (lambda g: Grid((0, 1, 1), np.eye(4)), "three positive integers"),
    ],
)
def test_misuse_is_reported_with_its_values(call, words):
    with pytest.raises(InputError, match=words):
        call(Grid((6, 9, 10), np.eye(4)))


@given(grids())
def test_distance_sees_a_moved_grid(grid):
    assume(min(grid.shape) > 1)
    moved = grid.affine.copy()
    moved[0, 3] += 0.25
    assert grid.distance_mm(Grid(grid.shape, moved)) == pytest.approx(0.25)
    assert grid.distance_mm(grid.crop((0, 0, 0), np.subtract(grid.shape, 1))) == np.inf
