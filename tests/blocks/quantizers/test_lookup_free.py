import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.blocks.quantizers import LookupFree
from tests._asserts import assert_close
from tests.models._small import noise


def reference(z: torch.Tensor, temperature: float) -> torch.Tensor:
    """The entropy loss over all codes at once, for latents ``(N, bits)``."""
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=z.shape[1]))).to(z)
    choice = torch.softmax(-(torch.cdist(z, corners) ** 2) / temperature, dim=1).clamp_min(1e-200)
    mean = choice.mean(dim=0)
    each = torch.special.entr(choice).sum(dim=1).mean()
    return each - torch.special.entr(mean).sum()


@pytest.mark.parametrize("bits", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_the_entropy_loss_is_that_over_all_codes(bits, temperature):
    z = noise(60, bits).double().requires_grad_()
    loss = LookupFree(bits, temperature=temperature)(z).losses["entropy"]
    expected = reference(z, temperature)
    torch.testing.assert_close(loss, expected.float(), rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss, z)
    (expected_gradient,) = torch.autograd.grad(expected, z)
    assert_close(gradient, expected_gradient, 1e-6)


def test_groups_of_bits_are_taken_as_independent():
    z = noise(60, 7).double()
    loss = LookupFree(7, group_bits=3, temperature=0.5)(z).losses["entropy"]
    # Three groups as equal as can be.
    parts = [reference(part, 0.5) for part in (z[:, :3], z[:, 3:5], z[:, 5:])]
    assert loss.item() == pytest.approx(sum(parts).item())


def test_the_entropy_loss_tells_spread_from_collapse():
    quantizer = LookupFree(4)
    corners = quantizer.decode_indices(torch.arange(16))
    spread = quantizer(corners).losses["entropy"].item()
    collapsed = quantizer(corners[:1].expand(16, -1)).losses["entropy"].item()
    undecided = quantizer(torch.zeros(16, 4)).losses["entropy"].item()
    assert spread == pytest.approx(-4 * torch.tensor(2.0).log().item(), rel=1e-5)
    assert (collapsed, undecided) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-5))


def test_gradients_stay_finite_where_probabilities_vanish():
    z = (50 * noise(30, 10)).requires_grad_()
    losses = LookupFree(10)(z).losses
    (losses["entropy"] + losses["commitment"]).backward()
    assert z.grad.isfinite().all()
    assert z.grad.abs().max() > 0


def test_the_entropy_loss_moves_latents_apart():
    z = (0.01 * noise(200, 6).abs()).requires_grad_()
    quantizer = LookupFree(6)
    before = quantizer(z)
    optimizer = torch.optim.Adam([z], lr=1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        quantizer(z).losses["entropy"].backward()
        optimizer.step()
    after = quantizer(z)
    assert before.usage == 1 / 64
    assert after.usage > 0.5
    assert after.perplexity > 20 * before.perplexity


@given(st.integers(1, 24), st.data())
def test_the_index_is_the_binary_number_of_the_signs(bits, data):
    quantizer = LookupFree(bits)
    index = data.draw(st.integers(0, 2**bits - 1))
    digits = [1.0 if index >> place & 1 else -1.0 for place in range(bits)]
    code = quantizer.decode_indices(torch.tensor([index]))
    assert code.tolist() == [digits]
    scaled = code * noise(1, bits).abs().clamp_min(1e-3)
    assert quantizer(scaled).indices.tolist() == [index]
    assert (quantizer.codebook_size, quantizer.width) == (2**bits, bits)


def test_zero_has_a_side():
    zeros = torch.tensor([[0.0, -0.0, 1.0]])
    assert LookupFree(3)(zeros).latent.tolist() == [[-1.0, -1.0, 1.0]]
    assert LookupFree(3).nearest(zeros).tolist() == [[-1.0, -1.0, 1.0]]


def test_commitment_is_the_mean_squared_distance_to_the_code():
    z = noise(2, 5, 4, 4).requires_grad_()
    result = LookupFree(5)(z)
    expected = (z.detach() - z.detach().sign()).square().mean()
    torch.testing.assert_close(result.losses["commitment"], expected)
    result.losses["commitment"].backward()
    torch.testing.assert_close(z.grad, 2 * (z.detach() - z.detach().sign()) / z.numel())


def test_the_latent_carries_the_gradient_straight_through():
    z = noise(2, 5, 4).requires_grad_()
    weights = noise(2, 5, 4, seed=1)
    (LookupFree(5)(z).latent * weights).sum().backward()
    assert torch.equal(z.grad, weights)


def test_losses_are_computed_in_single_precision_under_autocast():
    z = noise(100, 8)
    plain = LookupFree(8)(z).losses["entropy"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(LookupFree(8)(z).losses["entropy"], plain)


def test_no_table_of_all_latents_and_codes_is_held():
    shapes = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        shapes.append(tensor.numel())
        return tensor

    z = noise(1000, 18).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        LookupFree(18)(z).losses["entropy"].backward()
    # Nine bits of a group are 512 codes; halves of the group are 32 and 16.
    assert max(shapes) <= 1000 * 32
    assert len(shapes) > 10


def test_there_is_nothing_to_store():
    usual = LookupFree()
    assert not usual.state_dict()
    assert (usual.width, usual.group_bits, usual.temperature) == (16, 10, 0.01)


def test_ranks_and_parts_have_the_entropy_gradient_of_the_whole_batch(monkeypatch):
    """The mean assignment is that of all latents, wherever they are."""
    quantizer = LookupFree(6, group_bits=4).train()
    z = 0.01 * noise(4, 6, 3).double()

    def gradient(part, **context):
        own = part.clone().requires_grad_()
        with quantizer.whole_batch(**context):
            loss = quantizer(own).losses["entropy"]
        loss.backward()
        return loss.item(), own.grad

    loss, whole = gradient(z)
    parts = z.split((1, 3))
    found = [gradient(part, latents=parts) for part in parts]
    assert sum(n * each / 4 for (each, _), n in zip(found, (1, 3), strict=True)) == pytest.approx(
        loss, rel=1e-6
    )
    joined = torch.cat([n / 4 * g for (_, g), n in zip(found, (1, 3), strict=True)])
    torch.testing.assert_close(joined, whole)
    # Two ranks: each adds what the other one would send.
    halves = z.split(2)
    means = [
        torch.cat(
            [m.flatten() for m in quantizer._mean_assignments(h.movedim(1, -1).flatten(0, -2))]
        )
        for h in halves
    ]
    monkeypatch.setattr("ct_vae.blocks.quantizers.lookup_free.world_size", lambda: 2)
    gradients = []
    for own, other in zip(halves, means[::-1], strict=True):
        monkeypatch.setattr(
            "torch.distributed.all_reduce", lambda flat, other=other: flat.add_(other)
        )
        gradients.append(gradient(own)[1] / 2)
    torch.testing.assert_close(torch.cat(gradients), whole)
