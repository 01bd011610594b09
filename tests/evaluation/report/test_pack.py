import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ct_vae.evaluation.report.pack import pack, whole_hu
from tests.evaluation.report._report import plainly_unpacked


@given(arrays(np.int16, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5))))
def test_every_value_comes_back(values):
    assert np.array_equal(plainly_unpacked(pack(values)), values.ravel())
    assert np.array_equal(plainly_unpacked(pack(values.T)), values.T.ravel())


def test_the_ends_of_int16_come_back():
    values = np.array([-32768, 32767, -32768, 0, 32767], np.int16)
    assert np.array_equal(plainly_unpacked(pack(values)), values)


def test_smooth_voxels_take_less_than_a_byte_each():
    noise = np.random.default_rng(0).normal(0, 5, 20_000)
    assert len(pack(np.rint(40 + noise).astype(np.int16))) < 20_000


def test_hu_are_rounded_and_kept_within_int16():
    got = whole_hu(np.float32([-0.4, 0.6, 1e6, -1e6, 1.5, 2.5]))
    assert got.dtype == np.int16
    assert got.tolist() == [0, 1, 32767, -32768, 2, 2]
