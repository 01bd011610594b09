import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.latent.entropy import residuals as module
from ct_vae.io.latent.entropy.prediction import LARGEST
from ct_vae.io.latent.entropy.residuals import (
    PARAMETERS,
    ResidualStream,
    decode_residuals,
    encode_residuals,
    narrow,
)

queue = constriction.stream.queue


def _coded(contexts):
    rows = np.zeros(len(contexts), PARAMETERS)
    encoder = queue.RangeEncoder()
    for row, each in zip(rows, contexts, strict=True):
        encode_residuals(encoder, row, each)
    return rows, encoder.get_compressed()


def _check(contexts):
    rows, words = _coded(contexts)
    decoder = queue.RangeDecoder(words)
    for row, each in zip(rows, contexts, strict=True):
        found = decode_residuals(decoder, row).residuals
        np.testing.assert_array_equal(found, each)
    return rows


sizes = st.sampled_from([0, 1, 3, 15, 127, 128, 2000, 32767, 32768, 10**5, 2 * LARGEST])
values = sizes.flatmap(lambda size: st.integers(-size, size))


@given(st.lists(st.lists(values, max_size=40), min_size=1, max_size=4), st.sampled_from([1, 7, 99]))
def test_residuals_of_any_size_come_back(contexts, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        _check([narrow(np.array(each, np.int32)) for each in contexts])


@pytest.mark.parametrize("scale", [2.0, 20.0, 3000.0, 1e5])
def test_blocks_do_not_change_the_words(scale, monkeypatch):
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, 5000) * scale
    residuals = np.clip(np.rint(heavy), -2 * LARGEST, 2 * LARGEST).astype(np.int32)
    rows, words = _coded([residuals])
    monkeypatch.setattr(module, "_BLOCK", 77)
    blocked_rows, blocked = _coded([residuals])
    np.testing.assert_array_equal(blocked, words)
    assert rows.tobytes() == blocked_rows.tobytes()
    assert _check([residuals])["escapes"][0] > 0


def test_small_residuals_are_held_in_two_bytes():
    residuals = np.array([3, -200, 32000] + [0] * 999, np.int32)
    rows, words = _coded([residuals])
    found = decode_residuals(queue.RangeDecoder(words), rows[0]).residuals
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, residuals)
    assert narrow(np.array([-32767, 32767], np.int32)).dtype == np.int16
    assert narrow(np.array([-32768], np.int32)).dtype == np.int32


@pytest.mark.parametrize("change", [{"shift": 21}, {"model": 250}, {"escapes": 3}])
def test_damaged_parameters_are_noticed(change):
    rows, words = _coded([np.arange(-20, 20, dtype=np.int32)])
    for name, value in change.items():
        rows[name] = value
    with pytest.raises(ValueError):  # noqa: PT011 - the coder gives the message
        decode_residuals(queue.RangeDecoder(words), rows[0])


def test_a_stream_gives_no_more_than_it_has():
    stream = ResidualStream(np.arange(5, dtype=np.int16))
    np.testing.assert_array_equal(stream.take(2), [0, 1])
    np.testing.assert_array_equal(stream.take(3), [2, 3, 4])
    with pytest.raises(ValueError):  # noqa: PT011 - the coder gives the message
        stream.take(1)
