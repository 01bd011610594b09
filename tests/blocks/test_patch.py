import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn

from ct_vae.blocks.patch import (
    PatchEmbedND,
    PatchUnembedND,
    RefineND,
    dct_basis,
    depth_to_space,
    patch_sides,
    space_to_depth,
)
from ct_vae.errors import ConfigError, InputError

sides_of_blocks = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@given(sides_of_blocks, st.integers(1, 3), st.data())
def test_blocks_become_channels_in_the_order_of_a_loop_and_back(sides, channels, data):
    counts = [data.draw(st.integers(1, 3)) for _ in sides]
    shape = [n * p for n, p in zip(counts, sides, strict=True)]
    x = torch.arange(2 * channels * int(np.prod(shape)), dtype=torch.float32)
    x = x.reshape(2, channels, *shape)
    y = space_to_depth(x, sides)
    assert y.shape == (2, channels * int(np.prod(sides)), *counts)
    for place in np.ndindex(*counts):
        box = tuple(slice(i * p, (i + 1) * p) for i, p in zip(place, sides, strict=True))
        assert torch.equal(y[(slice(None), slice(None), *place)], x[(..., *box)].flatten(1))
    assert torch.equal(depth_to_space(y, sides), x)


def test_the_order_is_that_of_torch():
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(space_to_depth(x, (2, 2)), torch.nn.functional.pixel_unshuffle(x, 2))


def test_sides_that_are_no_multiples_are_refused():
    with pytest.raises(InputError, match=r"sides \(4, 5\) are not multiples of blocks of \(2, 2\)"):
        space_to_depth(torch.zeros(1, 1, 4, 5), (2, 2))


@pytest.mark.parametrize(
    ("given_size", "words"), [(0, "at least 1"), ((2, 2), "one side for each of 3 axes")]
)
def test_patch_sizes_that_cannot_be(given_size, words):
    with pytest.raises(ConfigError, match=words):
        patch_sides(given_size, 3)
    assert patch_sides(4, 3) == (4, 4, 4)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_embedding_is_a_strided_convolution(dims):
    sides = (2, 4, 3)[:dims]
    embed = PatchEmbedND(dims, 2, 5, sides)
    x = torch.randn(2, 2, *(2 * p for p in sides))
    convolve = getattr(torch.nn.functional, f"conv{dims}d")
    kernel = embed.conv.weight.reshape(5, 2, *sides)
    expected = convolve(x, kernel, embed.conv.bias, stride=sides)
    torch.testing.assert_close(embed(x), expected)


def test_unembedding_with_the_transpose_of_an_orthonormal_basis_inverts_embedding():
    sides = (2, 2, 3)
    basis = dct_basis((1, *sides), 12).float()
    embed, unembed = PatchEmbedND(3, 1, 14, sides), PatchUnembedND(3, 12, 1, sides)
    embed.set_map(basis, torch.ones(12))
    unembed.set_map(basis.T, -(basis.T @ torch.ones(12)))
    x = torch.randn(1, 1, 4, 4, 6)
    code = embed(x)
    assert not code[:, 12:].any()
    torch.testing.assert_close(unembed(code[:, :12]), x)


@pytest.mark.parametrize("sides", [(4,), (1, 4, 4), (1, 2, 3, 4)])
def test_the_basis_is_scipys_dct_from_low_to_high_frequencies(sides):
    count = int(np.prod(sides))
    basis = dct_basis(sides, count).numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(count), atol=1e-12)
    block = np.random.default_rng(0).normal(size=sides)
    expected = dctn(block, norm="ortho").ravel()
    np.testing.assert_allclose(np.sort(basis @ block.ravel()), np.sort(expected), atol=1e-12)
    np.testing.assert_allclose(basis[0], count**-0.5)
    frequencies = [np.abs(np.diff(row.reshape(sides), axis=-1)).sum() for row in basis]
    assert np.argmin(frequencies) == 0


def test_refining_starts_from_the_image_and_sees_across_blocks():
    refine = RefineND(3, 1, 4, "zeros")
    x = torch.randn(1, 1, 4, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(refine(x)[0, 0, 1, 1, 1], x)
    assert gradient[0, 0, 3, 3, 3] != 0
    torch.nn.init.zeros_(refine.conv2.weight)
    torch.nn.init.zeros_(refine.conv2.bias)
    assert torch.equal(refine(x), x)
