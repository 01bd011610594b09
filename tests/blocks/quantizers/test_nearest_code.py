import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.blocks.quantizers import nearest_code as module
from ct_vae.blocks.quantizers.nearest_code import nearest_code
from tests.models._small import noise


@given(st.integers(1, 30), st.integers(2, 30), st.integers(1, 5), st.integers(0, 99))
def test_the_search_finds_the_nearest_in_pieces_of_any_size(rows, codes, width, seed):
    z, book = noise(rows, width, seed=seed), noise(codes, width, seed=seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CODES_AT_ONCE", 7)
        patch.setattr(module, "_PAIRS_ON_CPU", 20)
        found = nearest_code(z, book)
    distances = (z.double().unsqueeze(1) - book.double()).square().sum(dim=2)
    chosen = distances.gather(1, found.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, distances.min(dim=1).values, rtol=1e-12, atol=1e-12)


def test_the_search_is_brute_force_on_a_large_codebook():
    z, book = noise(3000, 8), noise(9000, 8, seed=1)
    brute = torch.cat([torch.cdist(part.double(), book.double()) for part in z.split(500)])
    assert torch.equal(nearest_code(z, book), brute.argmin(dim=1))


def test_the_first_of_equal_codes_is_taken_across_pieces(monkeypatch):
    monkeypatch.setattr(module, "_CODES_AT_ONCE", 2)
    book = torch.tensor([[5.0], [1.0], [1.0], [-1.0], [1.0]])
    assert nearest_code(torch.tensor([[0.9], [0.0]]), book).tolist() == [1, 1]


def test_close_codes_far_from_zero_are_distinguished():
    book = 1000 + 1e-3 * torch.arange(200.0).unsqueeze(1)
    assert torch.equal(nearest_code(book, book), torch.arange(200))
