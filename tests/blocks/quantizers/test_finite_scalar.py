import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.blocks.quantizers import FiniteScalar
from tests.models._small import noise

LEVELS = pytest.mark.parametrize("levels", [(8, 5, 5), (2, 3), (7, 6, 5, 4), (1000,)])


def reference(z: list[float], levels: tuple[int, ...]) -> tuple[list[float], int]:
    """One vector, by the formulas of the paper's appendix A.1, in Python's own numbers."""
    code, index, basis = [], 0, 1
    for value, count in zip(z, levels, strict=True):
        half_l = (count - 1) * (1 - 1e-3) / 2
        offset = 0.0 if count % 2 == 1 else 0.5
        shift = math.tan(offset / half_l)
        quantized = round(math.tanh(value + shift) * half_l - offset)
        half_width = count // 2
        code.append(quantized / half_width)
        index += (quantized + half_width) * basis
        basis *= count
    return code, index


@LEVELS
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_codes_and_indices_are_those_of_the_paper(levels, scale):
    z = (scale * noise(500, len(levels))).double()
    result = FiniteScalar(levels)(z)
    expected = [reference(row, levels) for row in z.tolist()]
    assert result.indices.tolist() == [index for _, index in expected]
    assert result.latent.tolist() == [code for code, _ in expected]
    assert result.losses == {}


@LEVELS
def test_indices_are_digits_with_the_first_channel_lowest(levels):
    quantizer = FiniteScalar(levels)
    assert (quantizer.codebook_size, quantizer.width) == (math.prod(levels), len(levels))
    axes = [[(i - n // 2) / (n // 2) for i in range(n)] for n in levels]
    # The last factor of a product turns fastest.
    grid = [code[::-1] for code in itertools.product(*reversed(axes))]
    codes = quantizer.decode_indices(torch.arange(quantizer.codebook_size))
    torch.testing.assert_close(codes, torch.tensor(grid), rtol=0, atol=0)
    assert (codes.min().item(), codes.max().item() <= 1.0) == (-1.0, True)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4))
def test_every_code_is_reached_by_some_latent(levels):
    quantizer = FiniteScalar(levels)
    steps = torch.linspace(-6, 6, 4001)
    reached = quantizer(steps.unsqueeze(1).expand(-1, quantizer.width)).latent
    assert [len(channel.unique()) for channel in reached.T] == levels


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4))
def test_zero_is_a_code(levels):
    quantizer = FiniteScalar(levels)
    assert quantizer(torch.zeros(1, len(levels))).latent.abs().max() == 0


def test_the_gradient_goes_through_the_bound_and_past_the_rounding():
    z = noise(40, 2).double().requires_grad_()
    FiniteScalar((8, 5))(z).latent.sum().backward()
    for channel, count in enumerate((8, 5)):
        half_l = (count - 1) * (1 - 1e-3) / 2
        shift = math.tan((0.0 if count % 2 else 0.5) / half_l)
        slope = half_l * (1 - torch.tanh(z.detach()[:, channel] + shift) ** 2) / (count // 2)
        torch.testing.assert_close(z.grad[:, channel], slope)


def test_a_second_bound_would_move_codes_and_nearest_does_not():
    quantizer = FiniteScalar((8, 8))
    latent = quantizer(3 * noise(100, 2)).latent
    assert not torch.equal(quantizer(latent).latent, latent)
    assert torch.equal(quantizer.nearest(latent), latent)


def test_what_is_beyond_the_last_level_is_put_on_it():
    quantizer = FiniteScalar((8, 5))
    beyond = torch.tensor([[5.0, 5.0], [-5.0, -5.0]])
    assert quantizer.nearest(beyond).tolist() == [[0.75, 1.0], [-1.0, -1.0]]


def test_half_precision_inside_would_give_other_codes():
    z = noise(4000, 1)
    quantizer = FiniteScalar((1000,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = quantizer(z).indices
    assert torch.equal(under_autocast, quantizer(z).indices)


def test_there_is_nothing_to_store():
    assert not FiniteScalar().state_dict()
    assert FiniteScalar().codebook_size == 64_000
