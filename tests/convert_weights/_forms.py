"""A small network for each format of other projects."""

from ct_vae.convert_weights import export_weights
from tests.models._small import small_model

# A network that each form has.
OF = {
    "compvis": {
        "spatial_dims": 2,
        "base_ch": 32,
        "norm_groups": 32,
        "tanh_out": True,
        "dropout": 0.25,
        "resolution": 64,
    },
    "diffusers": {"spatial_dims": 2, "in_channels": 3, "attn_resolutions": (2,)},
    "monai": {"double_z": False, "head_activation": False, "decoder_blocks": 1},
    "maisi": {
        "double_z": False,
        "head_activation": False,
        "decoder_blocks": 1,
        "upsample_mode": "linear",
        "encoder_mid": False,
        "decoder_mid": False,
        "mid_attn": False,
    },
}


def exported(form, **changes):
    return export_weights(small_model(**(OF[form] | changes)), form)
