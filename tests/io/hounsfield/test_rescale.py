import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ct_vae.errors import InputError
from ct_vae.io.hounsfield import rescale
from ct_vae.io.hounsfield.rescale import Scaling, int16_slabs, to_hounsfield
from ct_vae.volume import AIR_HU

KINDS = ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<f4", ">f4", "<f8"]


@pytest.fixture(autouse=True, params=[3, 1 << 20])
def chunk(request, monkeypatch):
    monkeypatch.setattr(rescale, "_CHUNK_VOXELS", request.param)


def reference(stored, scaling):
    """Every voxel on its own, in Python floats."""
    flat = [float(value) * scaling.slope + scaling.inter for value in stored.ravel()]
    values = np.array(flat).reshape(stored.shape)
    fits = all(value.is_integer() and -32768 <= value <= 32767 for value in flat)
    return values.astype(np.int16 if fits else np.float32)


arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(
        kind,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
        elements=(
            st.integers(-1500, 3000).map(lambda n: n / 4).map(np.float32)
            if "f" in kind
            else hnp.from_dtype(np.dtype(kind))
        ),
    )
)
numbers = st.sampled_from([1.0, -1.0, 2.0, 0.5, 0.1, 1024.0])


@pytest.mark.parametrize("order", "CF")
@given(stored=arrays, slope=numbers, inter=st.sampled_from([0.0, -1024.0, 0.25, 1e6]))
def test_values_are_those_of_plain_arithmetic(stored, order, slope, inter):
    scaling = Scaling(slope, inter)
    expected = reference(stored, scaling)
    result, broken = to_hounsfield(np.array(stored, order=order), scaling)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == expected.dtype
    assert broken == 0


def test_int16_is_not_copied():
    stored = np.zeros((3, 4, 5), np.int16)
    result, _ = to_hounsfield(stored, Scaling())
    assert result is stored
    shifted, _ = to_hounsfield(stored, Scaling(1, -1024))
    assert np.shares_memory(shifted, stored)
    assert (shifted == -1024).all()


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
def test_values_that_are_not_finite_are_counted_or_become_air(kind):
    stored = np.array([np.nan, 1, np.inf, -5, -np.inf, 1e300 if kind == "<f8" else 2], kind)
    stored = stored.reshape(1, 2, 3)
    count = 4 if kind == "<f8" else 3
    with pytest.raises(InputError, match=rf"{count} of its 6 voxels.*--nan air"):
        to_hounsfield(stored.copy(), Scaling())
    result, broken = to_hounsfield(stored.copy(), Scaling(), "air")
    assert broken == count
    assert result.dtype == np.int16
    assert result.ravel().tolist()[:5] == [AIR_HU, 1, AIR_HU, -5, AIR_HU]


def test_nothing_but_nan_becomes_air():
    result, broken = to_hounsfield(np.full((2, 2, 2), np.nan), Scaling(), "air")
    assert (broken, set(result.ravel().tolist())) == (8, {AIR_HU})


def test_a_view_is_not_changed_outside_of_itself():
    whole = np.arange(27, dtype=np.int16).reshape(3, 3, 3)
    before = whole.copy()
    to_hounsfield(whole[:, 1:2, :], Scaling(1, 5))
    np.testing.assert_array_equal(whole, before)


def test_a_read_only_array_is_not_changed():
    for kind in ("<i2", ">i2"):
        stored = np.arange(8).astype(kind).reshape(2, 2, 2)
        stored.setflags(write=False)
        result, _ = to_hounsfield(stored, Scaling(1, 1))
        np.testing.assert_array_equal(result.ravel(), np.arange(1, 9))


@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)))
def test_slabs_are_the_voxels_first_axis_fastest(voxels):
    for given_voxels in (voxels, np.asfortranarray(voxels), voxels.astype(np.float32)):
        joined = b"".join(int16_slabs(given_voxels))
        assert joined == voxels.astype("<i2").tobytes(order="F")
