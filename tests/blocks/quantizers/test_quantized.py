"""What holds for every quantizer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ct_vae.blocks.quantizers import EMACodebook, FiniteScalar, LookupFree, Quantizer
from ct_vae.blocks.quantizers.quantized import code_counts, code_statistics, straight_through
from ct_vae.errors import ConfigError, InputError
from tests.models._small import noise


def quantizer_of(kind: str) -> Quantizer:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return {
            "ema": lambda: EMACodebook(40, 3),
            "ema on the sphere": lambda: EMACodebook(40, 3, normalize=True),
            "fsq": lambda: FiniteScalar((8, 5, 2)),
            "lfq": lambda: LookupFree(3),
        }[kind]()


KINDS = pytest.mark.parametrize("kind", ["ema", "ema on the sphere", "fsq", "lfq"])
MODES = pytest.mark.parametrize("train", [True, False])


@KINDS
@MODES
@pytest.mark.parametrize("spatial", [(), (7,), (4, 5), (2, 3, 4)])
def test_any_number_of_dimensions_is_quantized_voxel_by_voxel(kind, train, spatial):
    quantizer = quantizer_of(kind).train(train)
    quantizer(noise(64, 3, seed=1))
    z = noise(2, 3, *spatial)
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    result = quantizer(z)
    assert result.latent.shape == z.shape
    assert result.latent.is_contiguous()
    assert result.indices.shape == (2, *spatial)
    assert result.indices.dtype == torch.int64
    quantizer.load_state_dict(before)
    rows = quantizer.eval()(z.movedim(1, -1).reshape(-1, 3))
    assert torch.equal(result.indices.flatten(), rows.indices)
    assert torch.equal(result.latent.movedim(1, -1).reshape(-1, 3), rows.latent)


@KINDS
def test_indices_decode_to_the_latent_that_they_came_from(kind):
    quantizer = quantizer_of(kind).eval()
    result = quantizer(noise(2, 3, 5, 6))
    decoded = quantizer.decode_indices(result.indices)
    assert torch.equal(decoded, result.latent)
    assert decoded.dtype == torch.float32
    assert decoded.is_contiguous()
    assert quantizer.double().decode_indices(result.indices).dtype == torch.float32


@KINDS
def test_every_code_is_its_own_nearest(kind):
    quantizer = quantizer_of(kind).eval()
    codes = quantizer.decode_indices(torch.arange(quantizer.codebook_size))
    assert codes.shape == (quantizer.codebook_size, quantizer.width)
    assert len(codes.unique(dim=0)) == quantizer.codebook_size
    assert torch.equal(quantizer.nearest(codes), codes)


@KINDS
@MODES
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_quantized_latent_is_its_own_nearest_to_the_last_bit(kind, train, dtype):
    quantizer = quantizer_of(kind).train(train)
    z = noise(2, 3, 5, 6).to(dtype)
    quantizer(z)
    latent = quantizer.eval()(z).latent
    assert latent.dtype == dtype
    assert torch.equal(quantizer.nearest(latent), latent)
    noisy = latent.double() + 1e-4 * noise(2, 3, 5, 6, seed=1)
    assert torch.equal(quantizer.nearest(noisy.to(dtype)), latent)


@KINDS
def test_nearest_is_nearest_of_all_codes(kind):
    quantizer = quantizer_of(kind).eval()
    latent = 1.5 * noise(200, 3).double()
    if kind == "ema on the sphere":
        latent = latent / latent.norm(dim=1, keepdim=True)
    codes = quantizer.decode_indices(torch.arange(quantizer.codebook_size))
    reached = (quantizer.nearest(latent) - latent).norm(dim=1)
    torch.testing.assert_close(reached, torch.cdist(latent, codes.double()).min(dim=1).values)


@pytest.mark.parametrize("kind", ["ema", "lfq"])
def test_quantizing_a_quantized_latent_gives_the_same_codes(kind):
    quantizer = quantizer_of(kind).eval()
    once = quantizer(noise(2, 3, 5, 6))
    twice = quantizer(once.latent)
    assert torch.equal(twice.indices, once.indices)
    assert torch.equal(twice.latent, once.latent)


@KINDS
def test_evaluation_changes_nothing_and_draws_nothing(kind):
    quantizer = quantizer_of(kind).eval()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    randomness = torch.get_rng_state()
    results = [quantizer(noise(2, 3, 5, 6)).indices for _ in range(2)]
    assert torch.equal(*results)
    assert torch.equal(torch.get_rng_state(), randomness)
    after = quantizer.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


@KINDS
def test_a_full_graph_can_be_compiled_for_evaluation(kind):
    model = nn.Sequential(nn.Conv2d(1, 3, 1), quantizer_of(kind))
    x = noise(2, 1, 8, 8)
    expected = model.eval()(x)
    compiled = torch.compile(model.eval(), backend="eager", fullgraph=True)(x)
    assert torch.equal(compiled.indices, expected.indices)
    assert torch.equal(compiled.latent, expected.latent)
    assert compiled.losses.keys() == expected.losses.keys()
    assert compiled.perplexity == expected.perplexity


@KINDS
def test_losses_are_single_precision_scalars_whatever_comes_in(kind):
    quantizer = quantizer_of(kind)
    names = {"fsq": set(), "lfq": {"commitment", "entropy"}}.get(kind, {"commitment"})
    for dtype in (torch.bfloat16, torch.float64):
        result = quantizer(noise(2, 3, 4, 4).to(dtype))
        assert result.latent.dtype == dtype
        assert result.losses.keys() == names
        scalars = (*result.losses.values(), result.perplexity, result.usage)
        assert {(v.dtype, v.ndim) for v in scalars} == {(torch.float32, 0)}


@KINDS
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_stays_visible(kind, bad):
    quantizer = quantizer_of(kind).eval()
    z = noise(2, 3, 4)
    z[1, 0, 3] = bad
    result = quantizer(z)
    assert not result.latent[1, 0, 3].isfinite()
    assert result.latent[0].isfinite().all()
    # An index that cannot be decoded would be an error somewhere else.
    quantizer.decode_indices(result.indices)
    assert not quantizer.nearest(z)[1, 0, 3].isfinite()


@KINDS
@pytest.mark.parametrize("shape", [(2, 4, 5), (3,), (2, 3, 0)])
def test_latents_of_another_shape_are_refused(kind, shape):
    quantizer = quantizer_of(kind)
    for quantize in (quantizer, quantizer.nearest):
        with pytest.raises(InputError, match=r"takes \(B, 3, \*spatial\).*got \("):
            quantize(torch.zeros(shape))


@KINDS
def test_indices_outside_the_codebook_are_refused_by_value(kind):
    quantizer = quantizer_of(kind)
    last = quantizer.codebook_size - 1
    good = torch.tensor([[0, last]])
    for dtype in (torch.uint8, torch.int32, torch.uint16, torch.int64):
        assert quantizer.decode_indices(good.to(dtype)).shape == (1, 3, 2)
    with pytest.raises(InputError, match=f"from 0 to {last}, got -1, {last + 1};"):
        quantizer.decode_indices(torch.tensor([[0, last + 1, last + 1, -1]]))
    with pytest.raises(InputError, match="and 997 more"):
        quantizer.decode_indices(torch.arange(1000, 2000))


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bool])
def test_indices_that_are_not_integers_are_refused(kind, dtype):
    with pytest.raises(InputError, match=f"integers, got {dtype}"):
        quantizer_of(kind).decode_indices(torch.zeros(1, 2, dtype=dtype))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EMACodebook(codebook_size=1),
        lambda: EMACodebook(codebook_size=2**24 + 1, width=1),
        lambda: EMACodebook(width=0),
        lambda: EMACodebook(decay=1.0),
        lambda: EMACodebook(decay=-0.1),
        lambda: EMACodebook(decay=float("nan")),
        lambda: EMACodebook(revive_after=0),
        lambda: FiniteScalar(()),
        lambda: FiniteScalar((8, 1)),
        lambda: FiniteScalar((8,) * 9),
        lambda: LookupFree(0),
        lambda: LookupFree(25),
        lambda: LookupFree(8, group_bits=11),
        lambda: LookupFree(8, group_bits=0),
        lambda: LookupFree(8, temperature=0.0),
        lambda: LookupFree(8, temperature=float("nan")),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make):
    with pytest.raises(ConfigError, match="got"):
        make()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_perplexity_and_usage_are_those_of_the_definition(values):
    shares = [values.count(v) / len(values) for v in set(values)]
    perplexity, usage = code_statistics(torch.tensor(values), 7)
    entropy = -sum(p * torch.log(torch.tensor(p)).item() for p in shares)
    assert perplexity.item() == pytest.approx(torch.tensor(entropy).exp().item(), rel=1e-5)
    assert usage.item() == pytest.approx(len(shares) / 7)
    counts = code_counts(torch.tensor(values), 7)
    assert counts.tolist() == [values.count(v) for v in range(7)]


def test_equal_use_of_all_codes_has_the_perplexity_of_the_codebook():
    perplexity, usage = code_statistics(torch.arange(64).view(4, 4, 4), 64)
    assert (perplexity.item(), usage.item()) == (pytest.approx(64.0), 1.0)


def test_straight_through_has_the_value_of_the_code_and_the_gradient_of_the_latent():
    z = (1000 * noise(50)).requires_grad_()
    codes = noise(50, seed=1).requires_grad_()
    result = straight_through(z, codes)
    assert torch.equal(result, codes)
    weights = noise(50, seed=2)
    gradients = torch.autograd.grad(result, (z, codes), weights, allow_unused=True)
    assert torch.equal(gradients[0], weights)
    assert gradients[1] is None
