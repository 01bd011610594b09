"""Against diffusers' AutoencoderKL, a second implementation of the same network in 2-D."""

import re

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL as Peer

from tests._asserts import assert_close
from tests.models._small import noise, randomise, small_model

ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
RULES = [
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.(down|up)sample\.conv\.", r".\1samplers.0.conv."),
    (r"\.mid\.block_(\d)\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}."),
    (r"\.mid\.attn_1\.(\w+)", lambda m: f".mid_block.attentions.0.{ATTENTION[m[1]]}"),
    (r"\.attn\.(\d)\.(\w+)", lambda m: f".attentions.{m[1]}.{ATTENTION[m[2]]}"),
    (r"\.block\.", ".resnets."),
    (r"\.down\.", ".down_blocks."),
    (r"coder\.norm_out", "coder.conv_norm_out"),
]


def peer_name(name: str, levels: int) -> str:
    """The diffusers name of a parameter with a CompVis name."""
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"\.up\.(\d)", lambda m: f".up_blocks.{levels - 1 - int(m[1])}", name)


def peer(channels: tuple[int, ...], image: int, attention: bool, mid: bool = True) -> Peer:
    kind = "Attn" if attention else ""
    model = Peer(
        in_channels=image,
        out_channels=image,
        down_block_types=[f"{kind}DownEncoderBlock2D"] * len(channels),
        up_block_types=[f"{kind}UpDecoderBlock2D"] * len(channels),
        block_out_channels=channels,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=mid,
    )
    randomise(model)
    return model.eval()


@pytest.mark.parametrize("image", [1, 3])
@pytest.mark.parametrize(
    ("channels", "attention", "mid"),
    [
        ((8, 16), False, True),
        ((8, 16, 16), True, True),
        ((16, 8, 24), False, False),
        ((8, 16, 32, 32), False, True),
    ],
)
@torch.no_grad()
def test_moments_and_reconstruction_agree(image, channels, attention, mid):
    theirs = peer(channels, image, attention, mid)
    ours = small_model(
        spatial_dims=2,
        in_channels=image,
        out_channels=image,
        down_channels=channels,
        num_res_blocks=2,
        norm_groups=4,
        attn_resolutions=[2**i for i in range(len(channels))] if attention else (),
        mid_attn=mid,
    )
    source = theirs.state_dict()
    own = ours.state_dict()
    # Their attention is linear where ours has 1 x 1 kernels.
    ours.load_state_dict(
        {n: source.pop(peer_name(n, len(channels))).reshape(t.shape) for n, t in own.items()}
    )
    assert not source
    x, z = noise(2, image, 32, 16), noise(2, 4, 4, 2)
    assert_close(ours.moments(x), theirs.encode(x).latent_dist.parameters, 1e-5)
    assert_close(ours.decode(z), theirs.decode(z).sample, 1e-5)
    latent = theirs.encode(x).latent_dist
    assert_close(ours.posterior(x).std, latent.std, 1e-5)
