"""Exact streaming gives what the whole volume gives, for every model, size, slab and buffer."""

import copy

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from ct_vae.blocks.quantizers.finite_scalar import FiniteScalar
from ct_vae.models import AutoencoderKL
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.progress import reporting_to
from tests._asserts import assert_close
from tests._progress import Recorder
from tests.inference._exact import MODELS, given, halves, run, tiny

NAME = pytest.mark.parametrize("name", MODELS)
# One slice at a time, a few, and all.
slab_sizes = st.sampled_from([1, 2_000, 10_000, 10**8])
kinds = st.sampled_from(["device", "disk"])
cut_sets = st.one_of(st.just(frozenset()), st.frozensets(st.integers(1, 120), max_size=40))


@NAME
@settings(max_examples=6)
@drawn(st.integers(2, 6), st.sampled_from([1, 2]), slab_sizes, kinds, cut_sets, st.booleans())
def test_slabs_of_any_thickness_and_cuts_anywhere_give_what_the_whole_gives(
    name, blocks, across, slab_bytes, kind, cuts, decodes
):
    model = tiny(name)
    f = model.factor
    # A side of one latent voxel has nothing to reflect.
    across = max(across, 2) if "reflect" in name else across
    x = given(model, (blocks * f[0], 2 * f[1], across * f[2]), decodes)
    module = halves(model)[decodes]
    with torch.inference_mode():
        whole = module(x)
    assert_close(run(module, x, slab_bytes, kind, cuts), whole, 1e-10)


@NAME
@pytest.mark.parametrize("decodes", [False, True])
def test_reported_progress_grows_to_the_end(name, decodes):
    model, recorder = tiny(name), Recorder()
    x = given(model, [4 * f for f in model.factor], decodes)
    with torch.inference_mode(), reporting_to(recorder):
        run(halves(model)[decodes], x, 1_000)
    fractions = recorder.reports
    assert len(fractions) > 1
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)


@NAME
@pytest.mark.parametrize("decodes", [False, True])
def test_float32_is_as_good(name, decodes):
    model = tiny(name, torch.float32)
    x = given(model, [4 * f for f in model.factor], decodes, torch.float32)
    module = halves(model)[decodes]
    with torch.inference_mode():
        whole = module(x)
    assert_close(run(module, x, 4_000), whole, 1e-5)


@NAME
@pytest.mark.parametrize("decodes", [False, True])
def test_under_autocast_every_kind_of_buffer_holds_the_same_numbers(name, decodes):
    model = tiny(name, torch.float32)
    x = given(model, [4 * f for f in model.factor], decodes, torch.float32)
    module = halves(model)[decodes]
    with torch.inference_mode():
        precise = module(x)
        with torch.autocast("cpu", torch.bfloat16):
            whole = module(x)
            found = {kind: run(module, x, 4_000, kind) for kind in ("device", "host", "disk")}
    assert_close(found["device"], precise, 2 * error_of(whole, precise) + 1e-6)
    assert torch.equal(found["device"], found["host"])
    assert torch.equal(found["device"], found["disk"])


def error_of(result, reference):
    return float((result.double() - reference.double()).norm() / reference.double().norm())


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("decodes", [False, True])
def test_sizes_around_that_of_a_slab(more, decodes):
    model = tiny("kl group attention")
    x = given(model, (4 * (4 + more), 8, 8), decodes)
    module = halves(model)[decodes]
    with torch.inference_mode():
        whole = module(x)
    # Four slices of the encoder's result, 16 of the decoder's.
    slab_bytes = 16 * 8 * 8 * 8 if decodes else 4 * 8 * 2 * 2 * 8
    assert_close(run(module, x, slab_bytes), whole, 1e-10)


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith(("vq", "magvit"))])
def test_codes_are_the_same_and_in_float32_but_for_near_ties(name):
    """Where float32 gives another code, both are equally near but for what rounding moves."""
    model, x = tiny(name), given(tiny(name), (24, 8, 8), decodes=False)
    assert isinstance(model, QuantizedAutoencoder)
    features, codes = {}, {}
    for dtype in (torch.float64, torch.float32):
        same = copy.deepcopy(model).to(dtype)
        module = halves(same)[0]
        with torch.inference_mode():
            features[dtype] = (module(x.to(dtype)), run(module, x.to(dtype), 3_000))
            codes[dtype] = [same.quantize(each).indices for each in features[dtype]]
    whole, exact = codes[torch.float64]
    assert torch.equal(whole, exact)
    whole, exact = codes[torch.float32]
    assert not ((whole != exact) & ~_near_ties(model, features[torch.float32], whole, exact)).any()


def _near_ties(model, features, whole, exact):
    """Where the codes ``whole`` and ``exact`` are as near to the features as float32 can tell.

    Squared distances in float64, to what the quantizer rounds. Features that moved by ``d`` move
    the difference of two squared distances by 2 d times the distance of the codes, and ``d`` is
    bounded by 1e-5 of the norm of all of them, the bound of the test above.
    """
    quantizer = model.quantizer
    with torch.inference_mode():
        points = features[0].double()
        if isinstance(quantizer, FiniteScalar):
            last = points.movedim(1, -1)
            points = (quantizer._bound(last) / quantizer._half(last.device)).movedim(-1, 1)
        one, other = (quantizer.decode_indices(i).double() for i in (whole, exact))
    gap = ((points - one).square().sum(1) - (points - other).square().sum(1)).abs()
    moved = 1e-5 * features[0].double().norm()
    return gap <= 2 * moved * (one - other).square().sum(1).sqrt()


def test_near_ties_are_few_and_what_is_no_tie_is_none():
    """The bound of the test above lets hardly any pair of codes pass."""
    model = tiny("vq ema")
    features = halves(model)[0](given(model, (24, 8, 8), decodes=False)).detach()
    indices = model.quantize(features).indices
    for shift in range(1, 16):
        other = (indices + shift) % 16
        assert _near_ties(model, (features, features), indices, other).double().mean() < 0.02


def test_a_large_mean_costs_no_digits():
    """Moments around zero would lose most of what float32 has."""
    model = tiny("kl group alone", torch.float32)
    model.encoder.conv_in.bias.data += 300
    x = given(model, (32, 16, 16), decodes=False, dtype=torch.float32)
    with torch.inference_mode():
        exact = halves(copy.deepcopy(model).double())[0](x.double())
    assert_close(run(halves(model)[0], x, 10_000), exact, 2e-3)


def test_what_declares_no_reach_is_refused():
    class Strange(torch.nn.Module):
        def forward(self, x):
            return torch.fft.fft(x)

    with pytest.raises(TypeError, match="has no known receptive field"):
        run(Strange(), torch.zeros(1, 1, 4, 4, 4), 1000)


def test_weights_stay_as_they_are():
    model = tiny("magvit group")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(halves(model)[1], given(model, (8, 8, 8), decodes=True), 1000)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert isinstance(tiny("kl linear"), AutoencoderKL)
