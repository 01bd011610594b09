"""Adapter that presents any autoencoder as one for single-channel volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ct_vae.blocks.memory_format import CHANNELS_LAST
from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder import Autoencoder

Triple = tuple[int, int, int]
# Batch size of a 2-D model that processes the slices of a volume.
SLICES_AT_ONCE = 8


class VolumeAdapter:
    """Runs an autoencoder on volumes ``(1, 1, X, Y, Z)`` in model units.

    A 2-D model processes the slices along the last axis, with factor ``(f, f, 1)``. A model with
    several image channels gets the gray value in each channel, and its outputs are averaged.

    Args:
        model: Autoencoder in evaluation mode. Its weights are converted to channels-last memory
            format, which changes no value.

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
        """Voxels per latent voxel along each axis."""
        f = tuple(self.model.factor)
        return (f[0], f[1], 1) if self._flat else (f[0], f[1], f[2])

    @property
    def device(self) -> torch.device:
        """Device of the model's weights."""
        return next(self.model.parameters()).device

    @contextmanager
    def moved_to(self, device: torch.device) -> Iterator[None]:
        """Move the model to another device within the context."""
        home = self.device
        self.model.to(device)
        try:
            yield
        finally:
            self.model.to(home)

    @property
    def streams(self) -> bool:
        """True if volumes can be streamed; 2-D models process slices independently anyway."""
        return not self._flat

    @property
    def encoding(self) -> nn.Module:
        """Module from images ``(1, channels, X, Y, Z)`` to features."""
        return nn.Sequential(self.model.encoder, self.model.quant_conv)

    @property
    def decoding(self) -> nn.Module:
        """Module from latents to images ``(1, channels, X, Y, Z)``."""
        return nn.Sequential(self.model.post_quant_conv, self.model.decoder)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the features ``(1, features, x, y, z)`` of an image ``(1, 1, X, Y, Z)``."""
        repeated = image.expand(-1, self.model.in_channels, -1, -1, -1)
        return self._apply(self.model.features, repeated)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Decode an unscaled latent ``(1, C, x, y, z)`` to an image ``(1, 1, X, Y, Z)``."""
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
