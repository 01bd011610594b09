"""Networks of MONAI and MAISI with random weights."""

import re

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.networks.nets import AutoencoderKL as MonaiKL

from tests._asserts import assert_close
from tests.models._small import noise, randomise

NONE, LAST, BOTH = (False, False), (False, True), (True, True)
# Attention by level, middle of the encoder, middle of the decoder, blocks by level.
SHAPES = [
    (NONE, True, True, (1, 2)),
    (LAST, True, True, (1, 1)),
    (BOTH, True, True, (2, 1)),
    (LAST, False, True, (1, 2)),
    (BOTH, True, False, (1, 2)),
    (BOTH, False, False, (2, 2)),
    (NONE, False, False, (2, 1)),
]


def arguments(dims, attention, encoder_mid, decoder_mid, blocks, **more):
    shared = {
        "spatial_dims": dims,
        "in_channels": 1,
        "out_channels": 1,
        "num_res_blocks": blocks,
        "attention_levels": attention,
        "latent_channels": 3,
        "norm_num_groups": 4,
        "with_encoder_nonlocal_attn": encoder_mid,
        "with_decoder_nonlocal_attn": decoder_mid,
    }
    return shared | more


def monai(dims=3, shape=SHAPES[0], **more):
    given = arguments(dims, *shape, **({"channels": (8, 16)} | more))
    model = MonaiKL(**given)
    randomise(model)
    return model.eval(), given


def maisi(shape=SHAPES[0], **more):
    splitting = {"num_splits": 1, "norm_float16": False}
    given = arguments(3, *shape, **({"num_channels": (8, 16)} | splitting | more))
    model = AutoencoderKlMaisi(**given)
    randomise(model)
    return model.eval(), given


def assert_agree(ours, theirs, relative, dtype=torch.float32):
    dims = ours.spatial_dims
    x = noise(1, 1, *(8, 12, 4)[:dims])
    z = noise(1, 3, *(3, 2, 2)[:dims]).to(dtype)
    with torch.no_grad():
        mean, std = theirs.encode(x.to(dtype))
        posterior = ours.posterior(x.to(dtype))
        assert_close(posterior.mean, mean, relative)
        assert_close(posterior.std, std, relative)
        assert_close(ours.decode(z), theirs.decode(z), relative)


def older(state):
    """Names of MONAI Generative, which MAISI's first weights had too."""
    rules = [
        (r"\.attn\.(to_[qkv])\.", r".\1."),
        (r"\.attn\.out_proj\.", ".proj_attn."),
        (r"\.postconv\.conv\.", ".conv.conv."),
    ]
    result = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901 - one rule after the other
        result[name] = tensor
    return result
