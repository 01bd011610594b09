"""Shapes of the results of all layers."""

import torch
from torch import nn

from ct_vae.models import AutoencoderKL


def seen_shapes(model: AutoencoderKL, image: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Shape of what leaves every module, by its name."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, module: nn.Module) -> None:
        module.register_forward_hook(
            lambda _module, _inputs, output: shapes.update({name: tuple(output.shape)})
        )

    for name, module in model.named_modules():
        if name:
            watch(name, module)
    with torch.no_grad():
        model.decode(model.encode(image).mode())
    return shapes


NUMBERS = {"ch_mult": (1, 2, 4), "attn_resolutions": (2,), "num_res_blocks": 2, "embed_dim": 5}
