import inspect

import pytest

from ct_vae.errors import ConfigError
from ct_vae.models import VQVAE, AutoencoderKL, MagvitVQVAE
from tests.models._small import noise


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
