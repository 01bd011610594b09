"""Numerical precision of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from ct_vae.errors import ConfigError
from ct_vae.inference.precision import float32_products, has_bf16

Choice = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# PyTorch's 65536 overflows in the first steps of most autoencoders.
_FIRST_SCALE = 2.0**10


@dataclass(frozen=True)
class Precision:
    """Precision of the networks; parameters, losses and moments are always float32.

    Attributes:
        name: ``fp32``, ``tf32``, ``bf16`` or ``fp16``.
        device: Device of the networks.
    """

    name: str
    device: torch.device

    def autocast(self) -> torch.autocast:
        """Return the autocast context for the networks."""
        dtype = DTYPES.get(self.name)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    @contextmanager
    def backend(self) -> Iterator[None]:
        """Set up the GPU libraries for training steps within the context.

        Products and convolutions of float32 numbers use TensorFloat-32 only for ``tf32``. cuDNN
        measures its algorithms once for each shape, which pays since all steps have equal shapes.
        """
        cudnn = torch.backends.cudnn
        before = cudnn.benchmark
        cudnn.benchmark = True
        try:
            with float32_products("tf32" if self.name == "tf32" else "ieee"):
                yield
        finally:
            cudnn.benchmark = before

    def scaler(self) -> torch.amp.GradScaler:
        """Return the scaler of losses, which is enabled only for ``fp16``."""
        enabled = self.name == "fp16"
        return torch.amp.GradScaler(self.device.type, init_scale=_FIRST_SCALE, enabled=enabled)


def choose_precision(choice: Choice, device: torch.device) -> Precision:
    """Resolve ``auto``: ``bf16`` on GPUs that support it, else ``fp32``.

    Raises:
        ConfigError: If the device does not support the requested precision.
    """
    cuda = device.type == "cuda"
    supported = has_bf16(device)
    if choice == "auto":
        return Precision("bf16" if cuda and supported else "fp32", device)
    if choice == "bf16" and cuda and not supported:
        raise ConfigError("training.precision bf16: this GPU does not have it", "use fp16 or auto")
    if choice == "bf16" and not supported:
        raise ConfigError(
            "training.precision bf16: this CPU has no instructions for it and would be about 100 "
            "times slower",
            "use fp32 or auto",
        )
    if choice in ("fp16", "tf32") and not cuda:
        raise ConfigError(f"training.precision {choice} is for GPUs", "use bf16, fp32 or auto")
    return Precision(choice, device)
