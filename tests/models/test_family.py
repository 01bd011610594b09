"""What every member of the family owes, whatever its norm and dimensions."""

import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.models import AutoencoderKL
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.models.weights import load_into, load_weights
from tests._asserts import assert_close
from tests.models._family import MEMBERS, PAIRS, latent_of, make_member
from tests.models._small import noise, save_weights

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
EVERY = pytest.mark.parametrize(("member", "norm"), PAIRS)
MEMBER = pytest.mark.parametrize("member", MEMBERS)


def image(dims: int = 3, batch: int = 2) -> torch.Tensor:
    return noise(batch, 1, *(4, 6, 2)[:dims])


@EVERY
@DIMS
def test_sides_are_divided_and_multiplied_by_the_factor(member, norm, dims):
    """(4, 6, 2) holds an even multiple of the factor and two odd ones."""
    model = make_member(member, norm, spatial_dims=dims)
    latent = latent_of(model, image(dims))
    assert latent.shape == (2, model.latent_channels, *(2, 3, 1)[:dims])
    assert model.decode(latent).shape == image(dims).shape


@MEMBER
@DIMS
def test_other_sides_are_refused(member, dims):
    model = make_member(member, "rms", spatial_dims=dims)
    sides = (4, 6, 3)[3 - dims :]
    with pytest.raises(InputError, match=r"not multiples of the factor \(2") as caught:
        model.encode(noise(1, 1, *sides))
    assert "pad the image" in caught.value.hint


@MEMBER
def test_every_axis_has_the_strides_it_was_given(member):
    model = make_member(
        member, "rms", ch_mult=(1, 2, 2), strides=((2, 2, 1), (2, 1, 1)), attn_resolutions=()
    )
    patch = MEMBERS[member][1].get("patch_size", 1)
    assert model.factor == (4 * patch, 2 * patch, patch)
    x = noise(1, 1, 8 * patch, 4 * patch, 3 * patch)
    latent = latent_of(model, x)
    assert latent.shape[2:] == (2, 2, 3)
    assert model.decode(latent).shape == x.shape


@EVERY
def test_a_gradient_reaches_every_parameter(member, norm):
    model = make_member(member, norm).train()
    x = image()
    reconstruction, bottleneck = model(x)
    loss = (reconstruction - x).square().mean()
    if isinstance(model, AutoencoderKL):
        loss = loss + bottleneck.kl_elements().mean()
    else:
        loss = loss + sum(bottleneck.losses.values())
    loss.backward()
    largest = {n: p.grad.abs().max().item() for n, p in model.named_parameters()}
    # A key's offset adds the same to every score of a query, which softmax takes out again.
    keyed = {n: value for n, value in largest.items() if n.endswith(".k.bias")}
    assert all(value < 1e-6 for value in keyed.values())
    untouched = [n for n, value in largest.items() if n not in keyed and value < 1e-9]
    assert untouched == []


@EVERY
def test_saved_state_computes_the_same(member, norm, tmp_path):
    model, other = make_member(member, norm), make_member(member, norm, seed=1)
    if isinstance(model, QuantizedAutoencoder):
        model.train()(image())
        model.eval()
    path = tmp_path / "model.safetensors"
    save_weights(path, model.state_dict(), {})
    load_into(other, load_weights(path))
    before, after = latent_of(model, image()), latent_of(other, image())
    assert torch.equal(before, after)
    assert torch.equal(model.decode(before), other.decode(after))


@EVERY
def test_evaluation_repeats_itself_and_changes_nothing(member, norm):
    model = make_member(member, norm, dropout=0.5)
    state = {n: t.clone() for n, t in model.state_dict().items()}
    first, second = (latent_of(model, image()) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(model.decode(first), model.decode(first))
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


@EVERY
def test_the_images_of_a_batch_do_not_see_each_other(member, norm):
    model = make_member(member, norm)
    features = model.features(image())
    alone = torch.cat([model.features(x[None]) for x in image()])
    assert_close(features, alone, 1e-5)
    latent = noise(2, model.latent_channels, 2, 3, 1)
    assert_close(model.decode(latent), torch.cat([model.decode(z[None]) for z in latent]), 1e-5)


@EVERY
def test_half_precision_comes_close(member, norm):
    model = make_member(member, norm)
    latent = latent_of(model, image())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = model.features(image()).float()
        decoded = model.decode(latent).float()
    assert_close(features, model.features(image()), 0.05)
    assert_close(decoded, model.decode(latent), 0.05)


@EVERY
def test_training_runs_in_half_precision(member, norm):
    model = make_member(member, norm).train()
    # On maps as small as 2 x 3 x 1 oneDNN's half-precision gradient of a kernel reads memory that
    # nobody wrote, for a plain convolution as well.
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction, _ = model(noise(2, 1, 16, 16, 8))
    reconstruction.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def compiled(model: Autoencoder, backend: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent and reconstruction through one graph each."""
    torch.compiler.reset()
    with torch.no_grad():
        encode = torch.compile(model.encode, backend=backend, fullgraph=True)
        decode = torch.compile(model.decode, backend=backend, fullgraph=True)
        told = encode(image())
        latent = told.mean if isinstance(model, AutoencoderKL) else told.latent
        return latent, decode(latent)


@EVERY
def test_encode_and_decode_are_one_graph_each(member, norm):
    model = make_member(member, norm)
    latent, reconstruction = compiled(model, "eager")
    assert_close(latent, latent_of(model, image()), 1e-5)
    assert_close(reconstruction, model.decode(latent), 1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, while it compiles
def test_inductor_gives_the_same():
    # Attention at the bottleneck alone: every further one is compiled anew.
    model = make_member("vq-fsq", "rms", attn_resolutions=())
    latent, reconstruction = compiled(model, "inductor")
    assert_close(latent, latent_of(model, image()), 1e-4)
    assert_close(reconstruction, model.decode(latent), 1e-4)


@EVERY
def test_checkpointing_changes_neither_result_nor_gradient(member, norm):
    gradients = []
    for checkpointing in (False, True):
        model = make_member(member, norm, checkpointing=checkpointing).train()
        out = model.decode(model.features(image())[:, : model.latent_channels])
        out.square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    plain, twice = gradients
    assert all(
        (g is None and twice[n] is None) or torch.allclose(g, twice[n], rtol=1e-5, atol=1e-8)
        for n, g in plain.items()
    )


@MEMBER
@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
def test_what_is_beyond_the_border_matters_at_the_border(member, mode):
    if member == "magvit-causal" and mode != "replicate":
        with pytest.raises(ConfigError, match="breaks causality along causal_axis"):
            make_member(member, "rms", padding_mode=mode)
        return
    zeros, other = (
        make_member(member, "rms", attn_resolutions=(), mid_attn=False, padding_mode=m)
        for m in ("zeros", mode)
    )
    x = noise(1, 1, 48, 8, 8)
    near, far = zeros.features(x), other.features(x)
    assert not torch.allclose(near[:, :, 0], far[:, :, 0])
    # The middle of the first axis is far from its ends, but not from those of the others.
    constant = torch.full((1, 1, 8, 8, 8), 0.7)
    if mode != "reflect":
        flat = other.features(constant)
        assert_close(flat, flat[:, :, :1, :1, :1].expand_as(flat), 1e-4)
    if mode == "circular":
        # The sub-voxels of a latent voxel may differ, but each block of them is like the next.
        decoded = other.decode(torch.full((1, other.latent_channels, 4, 4, 4), 0.7))
        assert_close(decoded, decoded[:, :, :2, :2, :2].repeat(1, 1, 4, 4, 4), 1e-4)
