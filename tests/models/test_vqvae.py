import inspect

import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.models import VQVAE, AutoencoderKL, MagvitVQVAE, Quantized
from tests.models._family import make_member
from tests.models._small import noise

CODED = pytest.mark.parametrize("member", ["vq-ema", "vq-fsq", "vq-lfq", "magvit"])


@CODED
def test_encode_tells_latent_indices_losses_and_use(member):
    model = make_member(member)
    told = model.encode(noise(2, 1, 8, 4, 6))
    assert isinstance(told, Quantized)
    assert told.latent.shape == (2, model.latent_channels, 4, 2, 3)
    assert told.indices.shape == (2, 4, 2, 3)
    assert told.indices.dtype == torch.int64
    assert 0 <= told.indices.min() <= told.indices.max() < model.codebook_size
    used = len(told.indices.unique()) / model.codebook_size
    assert told.usage.item() == pytest.approx(used)
    assert 1 <= told.perplexity <= used * model.codebook_size + 1e-3


@CODED
def test_codes_decode_to_what_their_latent_decodes_to(member):
    model = make_member(member)
    told = model.encode(noise(1, 1, 8, 4, 6))
    assert torch.equal(model.decode_indices(told.indices), model.decode(told.latent))


@CODED
def test_a_whole_model_in_half_the_width_decodes_codes(member):
    model = make_member(member).bfloat16()
    decoded = model.decode_indices(torch.zeros(1, 4, 2, 3, dtype=torch.long))
    assert decoded.dtype == torch.bfloat16


@CODED
def test_a_reconstruction_is_decode_after_encode(member):
    model, x = make_member(member), noise(1, 1, 8, 4, 6)
    reconstruction, told = model(x)
    assert torch.equal(reconstruction, model.decode(told.latent))
    assert torch.equal(told.indices, model.encode(x).indices)


@CODED
def test_normalizing_and_back(member):
    model, x = make_member(member), noise(1, 1, 8, 4, 6)
    model.scaling_factor = 0.5
    scaled = model.encode(x, normalize=True)
    assert torch.equal(scaled, 0.5 * model.encode(x).latent)
    assert torch.equal(model.decode(scaled, denorm=True), model.decode(model.encode(x).latent))


@CODED
def test_what_a_diffusion_model_gives_is_moved_to_codes(member):
    model, x = make_member(member), noise(1, 1, 8, 4, 6)
    exact = model.encode_stage_2_inputs(x)
    assert torch.equal(exact, model.encode(x).latent)
    noisy = exact + 1e-3 * noise(*exact.shape, seed=3)
    assert not torch.equal(model.decode(noisy), model.decode(exact))
    assert torch.equal(model.decode_stage_2_outputs(noisy), model.decode(exact))


@CODED
def test_an_index_that_is_no_code_is_refused(member):
    model = make_member(member)
    indices = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    indices[0, 0, 0, 0] = model.codebook_size
    with pytest.raises(InputError, match=f"indices from 0 to {model.codebook_size - 1}"):
        model.decode_indices(indices)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, (8, 8192)),
        ({"embed_dim": 5, "codebook_size": 16}, (5, 16)),
        ({"quantizer": "fsq"}, (6, 64_000)),
        ({"quantizer": "fsq", "levels": (7, 5)}, (2, 35)),
        ({"quantizer": "lfq"}, (16, 65_536)),
        ({"quantizer": "lfq", "embed_dim": 4, "codebook_size": 16}, (4, 16)),
    ],
)
def test_width_and_number_of_codes_follow_from_the_quantizer(numbers, expected):
    with pytest.warns(UserWarning, match="random weights"):
        model = VQVAE(base_ch=8, ch_mult=(1, 2), **numbers)
    assert (model.latent_channels, model.codebook_size) == expected
    # An encoder narrower than the codes would leave part of their space empty.
    assert model.encoder.conv_out.out_channels == expected[0]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"quantizer": "pq"}, "quantizer: Input should be 'ema', 'fsq' or 'lfq'"),
        ({"levels": (5, 5)}, "levels have no effect with quantizer 'ema'"),
        ({"quantizer": "fsq", "normalize_codes": True}, "normalize_codes has no effect"),
        ({"quantizer": "fsq", "embed_dim": 8}, "embed_dim 8 contradicts 6 levels"),
        ({"quantizer": "fsq", "codebook_size": 8}, "codebook_size 8 contradicts quantizer 'fsq'"),
        ({"quantizer": "lfq", "codebook_size": 8}, "codebook_size 8 contradicts quantizer 'lfq'"),
        ({"double_z": True}, "double_z is for latent_type 'kl'"),
    ],
)
def test_contradictions_are_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        VQVAE(base_ch=8, ch_mult=(1, 2), **numbers)


@pytest.mark.parametrize("kind", [VQVAE, MagvitVQVAE])
def test_every_number_reaches_its_place(kind):
    with pytest.warns(UserWarning, match="random weights"):
        model = kind(
            base_ch=8,
            ch_mult=(1, 2),
            in_channels=2,
            out_channels=3,
            z_channels=5,
            quantizer="ema",
            embed_dim=4,
            codebook_size=16,
            codebook_decay=0.5,
            normalize_codes=True,
        )
    reconstruction, told = model.eval()(noise(1, 2, 4, 4, 4))
    assert (reconstruction.shape[1], told.latent.shape[1]) == (3, 4)
    assert model.quant_conv.weight.shape[:2] == (4, 5)
    assert model.post_quant_conv.weight.shape[:2] == (5, 4)
    assert (model.quantizer.decay, model.quantizer.normalize) == (0.5, True)


@pytest.mark.parametrize("kind", [VQVAE, MagvitVQVAE])
def test_the_constructor_is_that_of_the_continuous_model_but_for_what_codes_decide(kind):
    def defaults(model):
        parameters = inspect.signature(model).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}

    decided = {"z_channels": None, "double_z": False, "embed_dim": None, "codebook_size": None}
    assert defaults(kind) == defaults(AutoencoderKL) | decided
    assert list(defaults(kind)) == list(defaults(AutoencoderKL))
