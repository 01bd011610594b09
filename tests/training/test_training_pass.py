import pytest
import torch

from ct_vae.training.latent_changes import LatentChanges
from ct_vae.training.seeding import posterior_noise
from ct_vae.training.training_pass import sample_latent, training_pass
from tests._small import SMALL_CODES, small_model

IMAGES = torch.rand(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_continuous_latent_is_the_mean_plus_scaled_noise():
    model = small_model()
    with torch.no_grad():
        latent, output = training_pass(model, IMAGES, 3, 10, LatentChanges())
        posterior = model.encode(IMAGES)
    noise = posterior_noise(posterior.mean, 3, 10)
    torch.testing.assert_close(latent.sample, posterior.mean + posterior.std * noise)
    torch.testing.assert_close(latent.center, posterior.mean)
    torch.testing.assert_close(latent.regularizers["kl"], posterior.kl_elements())
    torch.testing.assert_close(output, model.decode_raw(latent.sample))
    assert latent.codes == {}


def test_samples_are_those_of_their_index_in_the_run():
    model = small_model()
    with torch.no_grad():
        both = training_pass(model, IMAGES, 3, 10, LatentChanges())[0].sample
        second = training_pass(model, IMAGES[1:], 3, 11, LatentChanges())[0].sample
    torch.testing.assert_close(both[1:], second)


@pytest.mark.parametrize("kind", SMALL_CODES)
def test_codes_are_quantized_without_noise(kind):
    model = small_model(base=SMALL_CODES[kind]).eval()

    def refused(mean):
        raise AssertionError("codes are not sampled")

    with torch.no_grad():
        latent = sample_latent(model, IMAGES, refused)
        quantized = model.encode(IMAGES)
    torch.testing.assert_close(latent.sample, quantized.latent)
    assert latent.center is latent.sample
    assert latent.codes.keys() == {"perplexity", "code_usage"}
