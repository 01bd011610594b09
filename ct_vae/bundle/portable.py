"""Parts of a model put in operations that TorchScript, ONNX and ``torch.export`` all know."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.upsample import UpsampleND
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.models.quantizers.ema_codebook import EMACodebook


def make_portable(model: Autoencoder) -> None:
    """Replace, in place, what depends on sides in ways that a graph does not keep.

    Repeating voxels and convolving takes the place of the operation that does both at once, and a
    codebook is compared with all latents together. Results are the same but for rounding.
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
    """Nearest codes by the distances of all pairs at once."""

    def __init__(self, codebook: EMACodebook) -> None:
        super().__init__()
        self.codes: torch.Tensor
        self.register_buffer("codes", codebook.codes)
        self.normalize = codebook.normalize

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        vectors = z.movedim(1, -1)
        if self.normalize:
            vectors = functional.normalize(vectors, dim=-1)
        # The square of a latent is the same for all codes.
        distance = self.codes.square().sum(1) - 2 * vectors @ self.codes.mT
        return self.codes[distance.argmin(-1)].movedim(-1, 1)
