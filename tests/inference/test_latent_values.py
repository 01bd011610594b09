from dataclasses import replace

import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.inference.latent_values import (
    check_model,
    check_sampling,
    decoder_input,
    latent_values,
    posterior_std,
)
from ct_vae.latent import ModelRecord
from tests._small import SMALL_CODES, ct_volume, small_codec

CPU = torch.device("cpu")
MEANS, CODES = small_codec(), small_codec(base=SMALL_CODES["vq"])


def _features():
    """Means 0 to 3, and standard deviations 1 and 2 in turns."""
    features = torch.zeros(1, 8, 4, 4, 4)
    features[:, :4] = torch.arange(4.0).reshape(1, 4, 1, 1, 1)
    features[:, 4:, ::2] = 2 * np.log(2.0)
    return features


def test_values_are_the_means_or_samples_with_the_width_of_the_posterior():
    model, features = MEANS.network.model, _features()
    means = latent_values(model, features, None, CPU)
    np.testing.assert_array_equal(means, features[0, :4])
    std = posterior_std(features)
    np.testing.assert_allclose(std[:, ::2], 2.0, rtol=1e-6)
    np.testing.assert_array_equal(std[:, 1::2], 1.0)
    drawn = [latent_values(model, features, seed, CPU) for seed in (0, 0, *range(1, 40))]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    deviation = np.std([(each - means) / std for each in drawn[1:]])
    assert deviation == pytest.approx(1, abs=0.02)


def test_values_of_a_model_with_codes_are_integers_that_the_decoder_gets_back():
    latent = CODES.encode(ct_volume())
    model = CODES.network.model
    values = decoder_input(model, latent, CPU)
    assert values.shape == (1, model.latent_channels, *latent.grid.shape)
    expected = model.quantizer.decode_indices(torch.from_numpy(latent.array.astype(np.int64))[None])
    torch.testing.assert_close(values, expected)


def test_latents_of_another_kind_or_number_of_channels_are_refused():
    means, codes = MEANS.encode(ct_volume()), CODES.encode(ct_volume())
    with pytest.raises(InputError, match="kind 'mean' cannot be decoded by a model with codes"):
        decoder_input(CODES.network.model, means, CPU)
    with pytest.raises(InputError, match="kind 'codes' cannot be decoded by a model without"):
        decoder_input(MEANS.network.model, codes, CPU)
    fewer = replace(means, array=means.array[:3])
    with pytest.raises(InputError, match="latent has 3 channels, the model 4"):
        decoder_input(MEANS.network.model, fewer, CPU)


@pytest.mark.parametrize(
    ("sample", "seed", "posterior", "message"),
    [
        (True, None, False, "given together"),
        (False, 1, False, "given together"),
        (True, 1, True, "without its posterior"),
    ],
)
def test_options_of_the_posterior_that_contradict_each_other_are_refused(
    sample, seed, posterior, message
):
    with pytest.raises(ConfigError, match=message):
        check_sampling(MEANS.network.model, sample, seed, posterior)


def test_a_model_with_codes_has_no_posterior():
    model = CODES.network.model
    check_sampling(model, False, None, False)
    with pytest.raises(ConfigError, match="no posterior to store; leave posterior out"):
        check_sampling(model, False, None, True)
    with pytest.raises(ConfigError, match="no posterior to sample; leave sample out"):
        check_sampling(model, True, 1, False)


def test_a_model_decodes_latents_of_its_own_encoder():
    own = ModelRecord(name="a", sha256="a" * 64, latent_type="kl", encoder_sha256="c" * 64)
    check_model(own.model_copy(update={"sha256": "b" * 64}), own)
    other = own.model_copy(update={"sha256": "b" * 64, "encoder_sha256": None, "name": "b"})
    with pytest.raises(InputError, match=r"by model 'b' \(bbbbbbbbbbbb\), not by 'a'"):
        check_model(other, own)
