import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.latent.entropy.lattice import lattice_passes, row_slabs, smoothest_last

sides = st.integers(1, 9)


@given(st.tuples(sides, sides, sides), st.permutations(range(3)))
def test_every_voxel_but_the_first_is_added_once_and_after_its_neighbors(shape, order):
    times = np.full((1, *shape), -1)
    times[0, 0, 0, 0] = 0
    for k, step in enumerate(lattice_passes(shape, order), start=1):
        added = times[step.added]
        assert added.size > 0
        assert (added == -1).all()
        assert (times[step.known] >= 0).all()
        times[step.added] = k
    assert (times >= 0).all()


@given(st.tuples(sides, sides, sides), st.permutations(range(3)))
def test_an_added_voxel_lies_midway_between_known_ones(shape, order):
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    for step in lattice_passes(shape, order):
        known, added = step.view(places, step.known), step.view(places, step.added)
        # The last may have a neighbor on one side only.
        between = known[1 : len(added) + 1]
        np.testing.assert_array_equal(2 * added[: len(between)], known[: len(between)] + between)


def test_the_axis_with_the_smallest_differences_comes_last():
    x, y, z = np.meshgrid(*map(np.arange, (5, 6, 7)), indexing="ij")
    integers = (3 * x + y + 9 * z)[np.newaxis].astype(np.int32)
    assert smoothest_last(integers) == (2, 0, 1)


@given(st.data())
def test_roughness_is_the_mean_difference_of_all_channels(data):
    shape = data.draw(st.tuples(st.integers(1, 3), sides, sides, sides))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    integers = rng.integers(-(1 << 20), 1 << 20, shape).astype(np.int32)
    integers = integers.cumsum(axis=data.draw(st.integers(0, 3)), dtype=np.int32) // 16
    steps = [np.abs(np.diff(integers.astype(float), axis=axis)) for axis in (1, 2, 3)]
    rough = [float(each.mean()) if each.size else 0.0 for each in steps]
    found = [rough[axis] for axis in smoothest_last(integers)]
    assert found == sorted(rough, reverse=True)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 200))
def test_slabs_cover_all_rows_in_order(rows, row_values, values):
    slabs = list(row_slabs(rows, row_values, values))
    assert [row for slab in slabs for row in range(slab.start, slab.stop)] == list(range(rows))
    for slab in slabs:
        assert (slab.stop - slab.start) * row_values <= max(values, row_values)
