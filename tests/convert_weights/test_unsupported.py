"""Families that are recognized and refused, by the names that diffusers gives their tensors."""

import warnings

import pytest
import torch

from ct_vae.convert_weights import import_weights
from ct_vae.errors import WeightsError
from tests.models._latent_diffusion import LatentDiffusion

diffusers = pytest.importorskip("diffusers")

FAMILIES = {
    "AutoencoderKLWan": "Wan or Qwen-Image",
    "AutoencoderKLQwenImage": "Wan or Qwen-Image",
    "AutoencoderKLCogVideoX": "CogVideoX",
    "AutoencoderKLHunyuanVideo": "HunyuanVideo",
    "AutoencoderKLLTXVideo": "LTX-Video",
    "AutoencoderKLCosmos": "Cosmos",
    "AutoencoderKLAllegro": "Allegro",
    "AutoencoderKLMagvit": "EasyAnimate",
    "AutoencoderKLTemporalDecoder": "Stable Video Diffusion",
    "AutoencoderDC": "DC-AE",
    "AutoencoderTiny": "TAESD",
    "AsymmetricAutoencoderKL": "an asymmetric autoencoder",
    "ConsistencyDecoderVAE": "a consistency decoder",
    "VQModel": "quantized autoencoder",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_named_and_what_is_read_is_told(name):
    kind = getattr(diffusers, name, None)
    if kind is None:
        pytest.skip(f"this version of diffusers has no {name}")
    with torch.device("meta"), warnings.catch_warnings():
        # Some of them use functions that PyTorch has deprecated.
        warnings.simplefilter("ignore")
        state = kind().state_dict()
    for config in (None, {"_class_name": name}):
        with pytest.raises(WeightsError, match=FAMILIES[name]) as caught:
            import_weights(state, config)
        assert "AutoencoderKL of CompVis and diffusers" in caught.value.hint
        assert "MAISI" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["encoder.downsamples.0.residual.0.gamma", "conv1.weight"], "Wan or Qwen-Image"),
        (["vae.per_channel_statistics.mean-of-means", "vae.encoder.x"], "LTX-Video"),
        (["encoder.stages.0.op_list.0.main.conv1.conv.weight"], "DC-AE"),
        (["1.conv.0.weight", "0.weight"], "TAESD"),
    ],
)
def test_files_of_their_own_programs_are_recognized_too(names, family):
    with pytest.raises(WeightsError, match=family):
        import_weights({name: torch.zeros(1) for name in names})


def test_a_configuration_of_another_family_is_named():
    with pytest.raises(WeightsError, match=r"configuration is of AutoencoderTiny \(TAESD\)"):
        import_weights(LatentDiffusion(ch=32).state_dict(), {"_class_name": "AutoencoderTiny"})
