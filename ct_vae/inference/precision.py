"""Number formats of the convolutions and products of a model."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch.nn import functional

from ct_vae.errors import ConfigError

Precision = Literal["fp32", "tf32", "bf16"]
# Rounding to bfloat16 moves a convolution by about 3e-3; a broken kernel by much more.
_LARGEST_ERROR = 0.02
# Settings of PyTorch that allow or forbid TensorFloat-32.
_SETTINGS: tuple[Any, ...] = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]
)


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute in a number format within the context; weights and feature maps stay in float32.

    ``fp32`` switches TensorFloat-32 off, ``tf32`` allows it, ``bf16`` uses autocast.

    Args:
        precision: Number format.
        device: Device of the model.

    Raises:
        ConfigError: If the device does not support the format.
    """
    check_precision(precision, device)
    with float32_products("tf32" if precision == "tf32" else "ieee"):
        if precision == "bf16":
            with torch.autocast(device.type, torch.bfloat16):
                yield
        else:
            yield


@contextmanager
def float32_products(kind: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Set how GPUs multiply float32 numbers, in products and convolutions, within the context.

    Args:
        kind: ``ieee`` in full precision, ``tf32`` with TensorFloat-32.
    """
    before = [each.fp32_precision for each in _SETTINGS]
    for each in _SETTINGS:
        each.fp32_precision = kind
    try:
        yield
    finally:
        for each, value in zip(_SETTINGS, before, strict=True):
            each.fp32_precision = value


def check_precision(precision: Precision, device: torch.device) -> None:
    """Check that a device supports a number format.

    Raises:
        ConfigError: If it does not, or if its convolutions in this format are wrong.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {', '.join(get_args(Precision))}, got {precision!r}")
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision tf32 is for GPUs", "choose fp32")
    if precision == "bf16":
        if not has_bf16(device):
            raise ConfigError(
                f"precision bf16: this {_name(device)} has no instructions for it and would be "
                "about 100 times slower",
                "choose fp32",
            )
        _check_convolution(device)


def has_bf16(device: torch.device) -> bool:
    """Return true if a device has instructions for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    if platform.machine() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@cache
def _check_convolution(device: torch.device) -> None:
    """Compare one convolution in bfloat16 with float32, once per device.

    Some versions of cuDNN return wrong values for 3-D convolutions in bfloat16.

    Raises:
        ConfigError: If they differ by more than rounding.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 32, 6, 16, 16, generator=generator).to(device)
    weight = torch.randn(32, 32, 3, 3, 3, generator=generator).to(device) / 30
    expected = functional.conv3d(x.double(), weight.double(), padding=1)
    found = functional.conv3d(x.bfloat16(), weight.bfloat16(), padding=1).double()
    error = float((found - expected).norm() / expected.norm())
    # The comparison is also false for NaN.
    if not error <= _LARGEST_ERROR:
        raise ConfigError(
            f"precision bf16: a 3-D convolution of this {_name(device)} has a relative error of "
            f"{error:.2g}; its library is broken",
            "update cuDNN and PyTorch, or choose fp32",
        )


def _name(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "CPU"
