import pytest
import torch

from ct_vae.convert_weights import export_weights, import_weights
from ct_vae.convert_weights.architecture import groups
from tests.models._latent_diffusion import LatentDiffusion
from tests.models._small import small_model


@pytest.mark.parametrize(
    ("numbers", "count"),
    [
        ({"norm_groups": 4}, 4),
        ({"norm_groups": None, "ch_mult": (1, 1)}, 8),
        # The first block normalizes what the first convolution gives.
        ({"norm_groups": None, "ch_mult": (2, 2)}, 0),
    ],
)
def test_one_number_of_groups_is_that_of_every_normalization(numbers, count):
    assert groups(small_model(**numbers).config) == count


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_a_convolution_that_changes_nothing_but_adds_is_kept(offset):
    model = small_model(spatial_dims=2)
    with torch.no_grad():
        model.post_quant_conv.weight.copy_(torch.eye(4)[..., None, None])
        model.post_quant_conv.bias.fill_(offset)
    state, config = export_weights(model, "diffusers")
    assert ("post_quant_conv.bias" in state) == (offset != 0)
    assert config["use_post_quant_conv"] == (offset != 0)


def test_what_is_imported_is_ready_to_use():
    assert not import_weights(LatentDiffusion().state_dict()).training


MONAI_LIKE = {"double_z": False, "head_activation": False, "decoder_blocks": 1}


def test_a_middle_of_the_decoder_alone_has_its_attention():
    state, config = export_weights(small_model(**MONAI_LIKE, encoder_mid=False), "monai")
    found = import_weights(state, config).config
    assert (found.encoder_mid, found.decoder_mid, found.mid_attn) == (False, True, True)
