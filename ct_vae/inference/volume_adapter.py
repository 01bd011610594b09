"""Any autoencoder of the family, seen as one for single-channel volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ct_vae.blocks.memory_format import CHANNELS_LAST
from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder import Autoencoder

Triple = tuple[int, int, int]
# Slices of a volume that a 2-D model takes in one batch.
SLICES_AT_ONCE = 8


class VolumeNetwork:
    """Takes ``(1, 1, X, Y, Z)`` in model units, whatever the model was made for.

    A 2-D model meets the volume slice by slice along the last axis, with factor ``(f, f, 1)``. A
    model with several image channels gets the gray value in each, and its outputs are averaged.

    Args:
        model: In evaluation mode. Its weights are laid out with channels last; no value changes.

    Raises:
        ConfigError: If the model is neither 2-D nor 3-D.
    """

    def __init__(self, model: Autoencoder) -> None:
        if model.spatial_dims not in CHANNELS_LAST:
            raise ConfigError(f"a {model.spatial_dims}-D model cannot encode volumes")
        self._layout = CHANNELS_LAST[model.spatial_dims]
        self.model: Autoencoder = model.to(memory_format=self._layout)  # type: ignore[call-overload]
        self._flat = model.spatial_dims == 2

    @property
    def factor(self) -> Triple:
        """Voxels per latent voxel and axis."""
        f = tuple(self.model.factor)
        return (f[0], f[1], 1) if self._flat else (f[0], f[1], f[2])

    @property
    def device(self) -> torch.device:
        """Where the model's weights lie."""
        return next(self.model.parameters()).device

    @contextmanager
    def moved_to(self, device: torch.device) -> Iterator[None]:
        """Have the model on another device for the length of the block."""
        home = self.device
        self.model.to(device)
        try:
            yield
        finally:
            self.model.to(home)

    @property
    def streams(self) -> bool:
        """Whether volumes can be streamed; a 2-D model does not need it, slices being alone."""
        return not self._flat

    @property
    def encoding(self) -> nn.Module:
        """What leads from ``(1, channels, X, Y, Z)`` to features, as one module."""
        return nn.Sequential(self.model.encoder, self.model.quant_conv)

    @property
    def decoding(self) -> nn.Module:
        """What leads from a latent to ``(1, channels, X, Y, Z)``, as one module."""
        return nn.Sequential(self.model.post_quant_conv, self.model.decoder)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """What the encoder gives, ``(1, features, x, y, z)``, for an image ``(1, 1, X, Y, Z)``."""
        repeated = image.expand(-1, self.model.in_channels, -1, -1, -1)
        return self._apply(self.model.features, repeated)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Image ``(1, 1, X, Y, Z)`` of an unscaled latent ``(1, C, x, y, z)``."""
        return self._apply(self.model.decode, latent).mean(1, keepdim=True)

    def _apply(
        self, operator: Callable[[torch.Tensor], torch.Tensor], volume: torch.Tensor
    ) -> torch.Tensor:
        if not self._flat:
            return operator(volume.contiguous(memory_format=self._layout))
        slices = volume[0].movedim(-1, 0)
        parts = torch.split(slices, SLICES_AT_ONCE)
        done = [operator(part.contiguous(memory_format=self._layout)) for part in parts]
        return torch.cat(done).movedim(0, -1)[None]
