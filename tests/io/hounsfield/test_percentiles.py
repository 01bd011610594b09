import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ct_vae.grid import Grid
from ct_vae.io.hounsfield import percentiles as module
from ct_vae.io.hounsfield.percentiles import hu_percentiles
from ct_vae.volume import Volume

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
WHOLE = hnp.arrays(np.int16, SHAPES)
FRACTIONS = hnp.arrays(np.float32, SHAPES, elements=st.floats(-5000, 5000, width=32))
PERCENTS = st.lists(st.floats(0, 100), min_size=1, max_size=4)


def volume(voxels, outside=None):
    return Volume(voxels, Grid(voxels.shape, np.eye(4)), outside)


@pytest.fixture(autouse=True, params=[1, 1 << 20])
def slab_voxels(request, monkeypatch):
    monkeypatch.setattr(module, "_SLAB_VOXELS", request.param)


def banal(voxels, percents):
    return tuple(np.percentile(np.rint(voxels), percents, method="inverted_cdf").astype(int))


@given(voxels=st.one_of(WHOLE, FRACTIONS), percents=PERCENTS)
def test_they_are_those_of_numpy_on_whole_hu(voxels, percents):
    assert hu_percentiles(volume(voxels), percents) == banal(voxels, percents)


@given(voxels=WHOLE, data=st.data())
def test_only_the_field_of_view_counts(voxels, data):
    outside = data.draw(hnp.arrays(bool, voxels.shape))
    found = hu_percentiles(volume(voxels, outside), (1, 50, 99))
    inside = voxels[~outside]
    assert found == (banal(inside, (1, 50, 99)) if inside.size else None)


def test_values_beyond_int16_count_as_its_ends():
    voxels = np.array([-1e6, 0, 1e6], np.float32).reshape(1, 1, 3)
    assert hu_percentiles(volume(voxels), (0, 50, 100)) == (-32768, 0, 32767)


def test_the_order_in_memory_does_not_matter():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for order in "CF":
        assert hu_percentiles(volume(np.array(voxels, order=order)), (25,)) == (5,)
