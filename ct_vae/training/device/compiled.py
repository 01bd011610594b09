"""Compilation of the blocks of an autoencoder for training steps."""

from __future__ import annotations

import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder import Autoencoder

# Levels are compiled for each width, and for passes with and without gradients.
_VARIANTS = 64


def compile_blocks(model: Autoencoder, device: torch.device) -> None:
    """Compile encoder, levels of the decoder and refinement in place with `torch.compile`.

    Names of parameters stay as they are, and copies of the model are not compiled. The output
    convolution is not compiled: an adaptive adversarial weight needs the gradient of its weights
    alone.

    Args:
        model: The autoencoder, on its device.
        device: Device of the model.

    Raises:
        ConfigError: If nothing can be compiled for the device.
    """
    # The compiler takes seconds to import.
    from torch._dynamo import config as dynamo
    from torch._functorch import config as autograd_graphs

    _check_compiler(device)
    dynamo.recompile_limit = max(dynamo.recompile_limit, _VARIANTS)
    # The adaptive weight keeps the graph of the refinement for a second gradient.
    autograd_graphs.donated_buffer = False
    decoder = model.decoder
    for part in (model.encoder, decoder.mid, *decoder.up, decoder.refine):
        if not isinstance(part, nn.Identity):
            part.compile(dynamic=False)


def _check_compiler(device: torch.device) -> None:
    """Compile one small function.

    Raises:
        ConfigError: If that fails, such as without a C++ compiler or, on GPUs, without Triton.
    """
    x = torch.zeros(8, device=device)
    try:
        torch.compile(_two_operations)(x)
    except Exception as error:  # what a compiler raises is not documented
        cause = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"training.compile: PyTorch can compile nothing for {device.type} here: {cause[0]}",
            "install a C++ compiler such as g++ (and Triton for a GPU), or set training.compile "
            "to false",
        ) from error


def _two_operations(x: torch.Tensor) -> torch.Tensor:
    return x.sigmoid() * x
