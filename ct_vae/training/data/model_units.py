"""Conversion of patches in HU to model units."""

from __future__ import annotations

import torch

from ct_vae.blocks.memory_format import memory_format
from ct_vae.config.run import RunConfig
from ct_vae.errors import InputError
from ct_vae.preprocess.pipeline import build_preprocessor


class ToModelUnits:
    """Converts patches in HU to images in model units on a device.

    Args:
        config: Configuration with the preprocessing and the image channels of the model.
        device: Device of the network.

    Attributes:
        hu_per_unit: HU per model unit.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self._scale = build_preprocessor(config.preprocess).scale
        self._dims = config.model.spatial_dims
        self._channels = config.model.in_channels
        self._device = device
        self.hu_per_unit = self._scale.hu_per_unit

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Convert patches ``(B, C, *spatial)``; a single channel is repeated for all channels.

        Raises:
            InputError: If the number of axes differs from that of the model.
        """
        if patches.ndim != self._dims + 2:
            raise InputError(
                f"training images have a channel axis and {self._dims} sides, got shape "
                f"{tuple(patches.shape[1:])}"
            )
        copies = self._channels if patches.shape[1] == 1 else 1
        units = self._scale.to_model(patches.to(self._device))
        repeated = units.repeat_interleave(copies, dim=1)
        return repeated.contiguous(memory_format=memory_format(self._dims))
