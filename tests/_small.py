"""A small codec and volumes that need no file, shared by tests of what lies above the models."""

import numpy as np
import torch

from ct_vae.config.model import ModelConfig
from ct_vae.grid import Grid
from ct_vae.inference.codec import Codec
from ct_vae.inference.tiling import Tiling
from ct_vae.latent import ModelRecord
from ct_vae.models import build_untrained
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.volume import Volume

SMALL_MODEL = ModelConfig(down_channels=(4, 8, 8), num_res_blocks=1, mid_attn=False, norm_groups=2)
_SHAPE = {"down_channels", "num_res_blocks", "mid_attn", "norm_groups"}
IDENTITY = ModelRecord(name="small", sha256="ab" * 32, latent_type="kl")


SMALL_CODES = {
    "vq": ModelConfig(**SMALL_MODEL.model_dump(include=_SHAPE), latent_type="vq", codebook_size=64),
    "magvit": ModelConfig(**SMALL_MODEL.model_dump(include=_SHAPE), latent_type="magvit"),
}


def small_model(seed: int = 0, base: ModelConfig = SMALL_MODEL, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_untrained(base.model_copy(update=changes))


def small_codec(
    tiling: Tiling | None = None, seed: int = 0, base: ModelConfig = SMALL_MODEL, **changes
) -> Codec:
    return Codec(small_model(seed, base, **changes), Preprocessor(), IDENTITY, tiling)


def ct_volume(shape=(13, 10, 11), affine=None, seed: int = 0) -> Volume:
    """Soft tissue in air with noise: plausible as CT to every check."""
    rng = np.random.default_rng(seed)
    voxels = np.full(shape, -1000.0)
    inner = tuple(slice(n // 5, n - n // 5) for n in shape)
    voxels[inner] = 40
    voxels += rng.normal(0, 20, shape)
    grid = Grid(shape, np.diag([1.5, 2.0, 2.5, 1.0]) if affine is None else affine)
    return Volume(voxels.round().astype(np.int16), grid)
