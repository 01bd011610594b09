import pytest

from ct_vae.config.run import RunConfig


def test_a_contradicting_regularisation_is_refused():
    with pytest.raises(ValueError, match=r"reg_type 'kl' contradicts model\.latent_type 'vq'"):
        RunConfig.model_validate_json(
            '{"model": {"latent_type": "vq"}, "training": {"reg_type": "kl"}}'
        )
