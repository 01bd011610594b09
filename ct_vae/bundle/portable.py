"""Replacement of layers by operations supported by TorchScript, ONNX and ``torch.export``."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.quantizers.ema_codebook import EMACodebook
from ct_vae.blocks.upsample import UpsampleND
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder


def make_portable(model: Autoencoder) -> None:
    """Replace layers, in place, that depend on input sizes in ways that a graph cannot represent.

    Fused upsampling becomes nearest upsampling and a convolution, and a codebook is compared with
    all latents at once. Results are equal up to rounding.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, UpsampleND) and len(child.parts()) == 1:
                setattr(module, name, _RepeatAndConvolve(child))
    if isinstance(model, QuantizedAutoencoder) and isinstance(model.quantizer, EMACodebook):
        model.quantizer = _PlainCodebook(model.quantizer)  # type: ignore[assignment]


class _RepeatAndConvolve(nn.Module):
    def __init__(self, upsample: UpsampleND) -> None:
        super().__init__()
        self.scale = [float(step) for step in upsample.strides]
        self.conv = upsample.conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(functional.interpolate(x, scale_factor=self.scale))
        return result


class _PlainCodebook(nn.Module):
    """Nearest codes from the distances of all pairs."""

    def __init__(self, codebook: EMACodebook) -> None:
        super().__init__()
        self.codes: torch.Tensor
        self.register_buffer("codes", codebook.codes)
        self.normalize = codebook.normalize

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        vectors = z.movedim(1, -1)
        if self.normalize:
            vectors = functional.normalize(vectors, dim=-1)
        # The squared norm of a latent is the same for all codes.
        distance = self.codes.square().sum(1) - 2 * vectors @ self.codes.mT
        return self.codes[distance.argmin(-1)].movedim(-1, 1)
