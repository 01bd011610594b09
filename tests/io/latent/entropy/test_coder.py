import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.io.latent.entropy import channel_groups
from ct_vae.io.latent.entropy.coder import decode_integers, encode_integers
from ct_vae.io.latent.entropy.prediction import LARGEST


def _field(shape, scale, seed=0):
    """Smooth field with noise, as the channels of latents are."""
    rng = np.random.default_rng(seed)
    walk = rng.normal(size=shape).cumsum(axis=1).cumsum(axis=3)
    noise = rng.laplace(size=shape)
    return np.rint(scale * (walk + noise)).astype(np.int32)


@given(
    st.tuples(st.integers(1, 5), *[st.integers(1, 12)] * 3),
    st.sampled_from([0.0, 0.02, 0.5, 3.0, 400.0, 2e4]),
    st.integers(0, 99),
)
def test_integers_come_back(shape, scale, seed):
    integers = np.clip(_field(shape, scale, seed), -LARGEST, LARGEST)
    coded = encode_integers(integers)
    np.testing.assert_array_equal(decode_integers(coded, shape), integers)


@given(st.data())
def test_extreme_values_come_back(data):
    shape = data.draw(st.tuples(st.integers(1, 2), *[st.integers(1, 4)] * 3))
    some = st.sampled_from([-LARGEST, LARGEST, 0, 1, -1, -128, 127, 2047])
    count = int(np.prod(shape))
    values = data.draw(st.lists(some, min_size=count, max_size=count))
    integers = np.array(values, dtype=np.int32).reshape(shape)
    np.testing.assert_array_equal(decode_integers(encode_integers(integers), shape), integers)


def test_memory_order_does_not_matter():
    integers = _field((2, 5, 6, 7), 9.0)
    assert encode_integers(np.asfortranarray(integers)) == encode_integers(integers)


def test_noise_costs_its_entropy():
    rng = np.random.default_rng(0)
    integers = rng.integers(-50, 50, (4, 24, 24, 24)).astype(np.int32)
    bits = 8 * len(encode_integers(integers)) / integers.size
    assert np.log2(100) < bits < np.log2(100) + 0.35


def test_smooth_fields_cost_less_than_the_entropy_of_their_values():
    integers = _field((3, 16, 20, 24), 6.0)
    _, counts = np.unique(integers, return_counts=True)
    share = counts / counts.sum()
    entropy = -(share * np.log2(share)).sum()
    assert 8 * len(encode_integers(integers)) / integers.size < entropy - 0.7


def test_a_constant_costs_next_to_nothing():
    assert len(encode_integers(np.full((4, 20, 20, 20), -77, np.int32))) < 200


def test_bytes_are_those_of_earlier_versions():
    integers = np.arange(2 * 5 * 6 * 7, dtype=np.int32).reshape(2, 5, 6, 7)
    integers = (integers * integers * 7 + 13 * integers) % 1009 - 500
    coded = encode_integers(integers)
    assert hashlib.sha256(coded).hexdigest()[:16] == "f71e4b00f6daff64"


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 1, np.iinfo(np.int32).min])
def test_larger_magnitudes_are_refused_with_what_to_do(value):
    integers = np.zeros((1, 2, 2, 2), np.int32)
    integers[0, 1, 1, 0] = value
    with pytest.raises(InputError, match="choose a larger step"):
        encode_integers(integers)


@given(st.data())
def test_damaged_bytes_give_integers_or_one_error(data):
    shape = (2, 4, 5, 6)
    content = bytearray(encode_integers(_field(shape, 30.0)))
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        content = content[: data.draw(st.integers(0, len(content)))]
    try:
        found = decode_integers(bytes(content), shape)
    except InputError:
        return
    assert found.shape == shape
    assert np.abs(found).max() <= LARGEST


@pytest.mark.parametrize("shape", [(1, 4, 5, 6), (2, 4, 5, 7), (2, 5, 4, 6), (9, 9, 9, 9)])
def test_another_shape_is_refused(shape):
    coded = encode_integers(_field((2, 4, 5, 6), 30.0))
    with pytest.raises(InputError, match="damaged"):
        decode_integers(coded, shape)


def test_channels_of_different_size_come_back():
    integers = _field((3, 20, 11, 17), 5.0) * np.reshape([1, 9, 700], (3, 1, 1, 1)).astype(np.int32)
    coded = encode_integers(integers)
    np.testing.assert_array_equal(decode_integers(coded, integers.shape), integers)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize(("group", "slab"), [(1, 1), (600, 100), (1500, 1 << 14), (1 << 17, 50)])
def test_bytes_do_not_depend_on_what_is_computed_at_once(monkeypatch, channels, group, slab):
    integers = _field((channels, 7, 6, 12), 30.0)
    expected = encode_integers(integers)
    monkeypatch.setattr(channel_groups, "_GROUP_VALUES", group)
    monkeypatch.setattr(channel_groups, "_SLAB_VALUES", slab)
    assert encode_integers(integers) == expected
    np.testing.assert_array_equal(decode_integers(expected, integers.shape), integers)


@pytest.mark.parametrize("shape", [(4, 64, 64, 50), (16, 40, 48, 30), (1, 96, 96, 96)])
def test_memory_is_that_of_the_latent(shape):
    integers = _field(shape, 3.0)
    coded = encode_integers(integers)
    # Slabs and groups of small channels have a size of their own.
    limit = (0.75 if shape[0] > 1 else 1.25) * integers.nbytes + 1.0e6
    for call, kept in (
        (lambda: encode_integers(integers), 0),
        (lambda: decode_integers(coded, shape), integers.nbytes),
    ):
        tracemalloc.start()
        try:
            call()
            assert tracemalloc.get_traced_memory()[1] - kept < limit
        finally:
            tracemalloc.stop()
