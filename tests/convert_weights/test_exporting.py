import pytest
import torch

from ct_vae.convert_weights import export_weights
from ct_vae.errors import ConfigError
from ct_vae.models import VQVAE
from ct_vae.models.build import build_untrained
from tests.convert_weights._forms import OF
from tests.models._small import small_model


@pytest.mark.parametrize("form", OF)
def test_exported_tensors_share_no_memory_with_the_model(form):
    model = small_model(**OF[form])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for tensor in export_weights(model, form)[0].values():
        tensor.zero_()
    for name, tensor in before.items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)


def test_only_known_forms_and_continuous_models_are_exported():
    with pytest.raises(ConfigError, match="form is one of compvis, diffusers, monai, maisi"):
        export_weights(small_model(), "onnx")
    quantized = build_untrained(
        small_model().config.model_copy(
            update={
                "latent_type": "vq",
                "double_z": False,
                "embed_dim": 4,
                "z_channels": 4,
                "quantizer": "ema",
                "codebook_size": 8,
            }
        )
    )
    assert isinstance(quantized, VQVAE)
    with pytest.raises(
        ConfigError, match="only continuous autoencoders can be exported, not VQVAE"
    ):
        export_weights(quantized, "compvis")


@pytest.mark.parametrize("form", OF)
def test_no_form_has_a_sigmoid(form):
    usual = {key: value for key, value in OF[form].items() if key != "tanh_out"}
    with pytest.raises(
        ConfigError,
        match="cannot store this network: output_activation 'sigmoid'",
    ):
        export_weights(small_model(**usual, output_activation="sigmoid"), form)
    export_weights(small_model(**usual, output_activation="identity"), form)
