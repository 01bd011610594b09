import pytest
import torch

from ct_vae.config.model import ModelConfig
from ct_vae.errors import InputError
from ct_vae.models import Quantized
from ct_vae.models.quantized_autoencoder import make_quantizer
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
    ("numbers", "kind", "size"),
    [
        ({"quantizer": "ema", "codebook_size": 12}, "EMACodebook", 12),
        ({"quantizer": "fsq", "levels": (3, 4)}, "FiniteScalar", 12),
        ({"quantizer": "lfq", "embed_dim": 5}, "LookupFree", 32),
    ],
)
def test_the_quantizer_is_that_of_the_configuration(numbers, kind, size):
    quantizer = make_quantizer(ModelConfig(latent_type="vq", **numbers))
    assert (type(quantizer).__name__, quantizer.codebook_size) == (kind, size)
