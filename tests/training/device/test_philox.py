import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ct_vae.training.device.philox import (
    normal_numbers,
    philox,
    random_integers,
    random_words,
    uniform_numbers,
)

CPU = torch.device("cpu")
# Known answers of the authors' library Random123 for ten rounds: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    words = philox([torch.tensor([c, 0]) for c in counter], key)
    assert tuple(int(word[0]) for word in words) == expected


WORDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(counter=st.tuples(*[WORDS] * 4), key=st.tuples(WORDS, WORDS))
def test_words_are_those_of_plain_integers(counter, key):
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q % 2**32, (p >> 32) ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    assert [int(word) for word in philox([torch.tensor(w) for w in counter], key)] == [a, b, c, d]


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 7)),
    seed=st.integers(0, 2**70),
    index=st.integers(0, 2**40),
    draw=st.sampled_from([normal_numbers, uniform_numbers]),
)
def test_numbers_belong_to_the_sample_and_not_to_the_batch(shape, seed, index, draw):
    together = draw(shape, seed, index, 1, CPU)
    assert together.shape == shape
    for i in range(shape[0]):
        assert torch.equal(draw((1, *shape[1:]), seed, index + i, 1, CPU)[0], together[i])


def test_seeds_samples_and_streams_are_unrelated():
    draws = [
        normal_numbers((1, 2000), seed, index, stream, CPU)[0]
        for seed in (0, 1, 2**32, 2**33)
        for index in (0, 1, 2, 2**32, 2**33)
        for stream in (0, 1, 2)
    ]
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert correlation.abs().max() < 0.12


def test_distributions():
    normal = normal_numbers((4, 50_000), 3, 7, 0, CPU).flatten().numpy()
    uniform = uniform_numbers((4, 50_000), 3, 7, 0, CPU).flatten().numpy()
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert 0 <= uniform.min() < uniform.max() < 1
    neighbors = np.corrcoef([normal[i : len(normal) - 4 + i] for i in range(4)])
    assert np.abs(neighbors - np.eye(4)).max() < 0.01
    chosen = random_integers(3, 3000, 0, 0, 2, CPU)
    assert torch.bincount(chosen, minlength=3).min() > 900


def test_extreme_words_give_finite_numbers(monkeypatch):
    words = [torch.tensor([[0, 2**32 - 1]]) for _ in range(4)]
    monkeypatch.setattr("ct_vae.training.device.philox.random_words", lambda *_: words)
    assert normal_numbers((1, 8), 0, 0, 0, CPU).isfinite().all()
    assert uniform_numbers((1, 8), 0, 0, 0, CPU).max() < 1


def test_words_of_a_sample_differ():
    words = torch.stack(random_words((2, 4000), 0, 0, 0, CPU))
    assert len(words.unique()) > 7990
