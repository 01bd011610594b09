"""Every member of the family at a size that a test can afford."""

import warnings
from typing import Any

import torch

from ct_vae.models import VQVAE, Autoencoder, AutoencoderKL, MagvitVQVAE, UntrainedWarning
from tests.models._small import randomise

NORMS = ("group", "rms", "layer")
_COMMON: dict[str, Any] = {
    "resolution": 16,
    "base_ch": 8,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "attn_resolutions": (2,),
}
# Class and what distinguishes the member.
MEMBERS: dict[str, tuple[type[Autoencoder], dict[str, Any]]] = {
    "kl": (AutoencoderKL, {}),
    "vq-ema": (VQVAE, {"codebook_size": 32, "embed_dim": 3}),
    "vq-fsq": (VQVAE, {"quantizer": "fsq", "levels": (5, 4, 3)}),
    "vq-lfq": (VQVAE, {"quantizer": "lfq", "embed_dim": 4}),
    "kl-patch": (
        AutoencoderKL,
        {"ch_mult": (1,), "patch_size": 2, "linear_skip": True, "refine_channels": 3}
        | {"inner_norm": False}
        | {"z_channels": 2, "embed_dim": 2},
    ),
    "vq-patch": (
        VQVAE,
        {"ch_mult": (1,), "patch_size": 2, "linear_skip": True}
        | {"quantizer": "fsq", "levels": (5, 4)},
    ),
    "magvit": (MagvitVQVAE, {"levels": (5, 4, 3)}),
    "magvit-blur": (MagvitVQVAE, {"levels": (5, 4, 3), "downsample_mode": "blur"}),
    "magvit-causal": (
        MagvitVQVAE,
        {"levels": (5, 4, 3), "causal_axis": 0, "mid_attn": False, "attn_resolutions": ()},
    ),
}
PAIRS = [(m, n) for m in MEMBERS for n in NORMS if (m, n) != ("magvit-causal", "group")]


def make_member(member: str, norm: str = "group", seed: int = 0, **numbers: Any) -> Autoencoder:
    """A member with random weights, none of them zero, in evaluation mode."""
    constructor, own = MEMBERS[member]
    groups = {"norm_groups": 2} if norm == "group" else {}
    arguments = _COMMON | own | {"norm": norm} | groups | numbers
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)
            model = constructor(**arguments)
    randomise(model, seed)
    return model.eval()


def latent_of(model: Autoencoder, x: torch.Tensor) -> torch.Tensor:
    """Mean or codes of images, what a diffusion model would see."""
    return model.encode_stage_2_inputs(x)
