"""Time, memory, operations and errors of what runs on a GPU."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL
from torch.utils.flop_counter import FlopCounterMode

# The benchmarks are programs next to this folder.
sys.path.append(str(Path(__file__).parents[1]))
import bench_train

FACTOR, LATENT_CHANNELS, OVERLAP = 4, 4, 0.4
# A run that takes longer is not repeated: its first time counts.
_LONG_S = 5.0
_COUNTED_SIDE = 32
Run = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        device: Device of the networks.
        toy: If true, all sizes are tiny, to try the program where nothing can be measured.
    """

    device: torch.device
    toy: bool

    @property
    def sides(self) -> tuple[int, int, int]:
        """Sides of the volume in voxels."""
        return (32, 32, 16) if self.toy else (512, 512, 512)

    @property
    def roi(self) -> tuple[int, int, int]:
        """Sides of a sliding window in voxels."""
        return (16, 16, 8) if self.toy else (320, 320, 160)

    @property
    def width(self) -> int:
        """Channels of the finest level; the two others have two and four times as many."""
        return 8 if self.toy else 64

    @property
    def fast(self) -> str:
        """Number format of the fast rows; processors without instructions for bf16 take fp32."""
        return "bf16" if self.device.type == "cuda" else "fp32"

    def image(self) -> torch.Tensor:
        """Return noise in place of a CT in model units."""
        return torch.rand(1, 1, *self.sides, generator=torch.Generator().manual_seed(1))

    def latent(self) -> torch.Tensor:
        """Return noise in place of a latent."""
        sides = [n // FACTOR for n in self.sides]
        generator = torch.Generator().manual_seed(1)
        return torch.randn(1, LATENT_CHANNELS, *sides, generator=generator)

    def given(self, half: str) -> torch.Tensor:
        """Return the input of one half of a network."""
        return self.image() if half == "encode" else self.latent()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def begin_peak(device: torch.device) -> float:
    """Begin to measure the peak memory of the device; return the MiB that are in use now."""
    # Networks of earlier rows may be in circles of references.
    gc.collect()
    if device.type != "cuda":
        return 0.0
    synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return float(torch.cuda.memory_allocated(device)) / 2**20


def peaks(device: torch.device) -> dict[str, float]:
    """Return the peak memory of tensors and of PyTorch's allocator since `begin_peak` in MiB."""
    if device.type != "cuda":
        return {}
    return {
        "peak_mb": torch.cuda.max_memory_allocated(device) / 2**20,
        "reserved_mb": torch.cuda.max_memory_reserved(device) / 2**20,
    }


def measured(device: torch.device, run: Run) -> tuple[torch.Tensor, dict[str, Any]]:
    """Run twice, unless that takes long; return the result, the time and the peak memory.

    Args:
        device: Device that computes.
        run: Work whose result is on the host.
    """
    before = begin_peak(device)
    result, first = timed(device, run)
    found: dict[str, Any] = {"first_seconds": first, "held_before_mb": before}
    seconds = first
    if first < _LONG_S:
        result, seconds = timed(device, run)
    return result, found | {"seconds": seconds, "repeated": first < _LONG_S} | peaks(device)


def timed(device: torch.device, run: Run) -> tuple[torch.Tensor, float]:
    """Return the result and the seconds of one run."""
    synchronize(device)
    started = time.perf_counter()
    result = run()
    synchronize(device)
    return result, time.perf_counter() - started


def relative_error(result: torch.Tensor, reference: torch.Tensor, device: torch.device) -> float:
    """Return the 2-norm of the difference over that of the reference, computed in parts."""
    difference, total = 0.0, 0.0
    for a, b in zip(result[0].split(16, 1), reference[0].split(16, 1), strict=True):
        expected = b.to(device).double()
        difference += float((a.to(device).double() - expected).square().sum())
        total += float(expected.square().sum())
    return float((difference / total) ** 0.5)


def operations_per_voxel(width: int, half: str) -> float:
    """Return the floating-point operations of MONAI's network per voxel, without overlaps."""
    model = MonaiAutoencoderKL(**bench_train.numbers(width)).to("meta").eval()
    side = _COUNTED_SIDE
    shape = (1, 1, *[side] * 3)
    if half == "decode":
        shape = (1, LATENT_CHANNELS, *[side // FACTOR] * 3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        x = torch.empty(shape, device="meta")
        model.decode(x) if half == "decode" else model.encode(x)
    return float(counter.get_total_flops()) / side**3


def product_rates(device: torch.device, side: int) -> dict[str, float]:
    """Return the rates of matrix products in TFLOP/s, by number format, on random values."""
    rates: dict[str, float] = {}
    matmul = torch.backends.cuda.matmul
    for name, dtype in (
        ("bf16", torch.bfloat16),
        ("tf32", torch.float32),
        ("fp32", torch.float32),
    ):
        if name == "tf32" and device.type != "cuda":
            continue
        matmul.fp32_precision = "tf32" if name == "tf32" else "ieee"
        a = torch.randn(side, side, device=device).to(dtype)
        b = torch.randn(side, side, device=device).to(dtype)
        timed(device, lambda a=a, b=b: a @ b)

        def products(a: torch.Tensor = a, b: torch.Tensor = b) -> torch.Tensor:
            for _ in range(9):
                a @ b
            return a @ b

        rates[name] = 10 * 2 * side**3 / timed(device, products)[1] / 1e12
    return rates


def copy_rates(device: torch.device, count: int) -> dict[str, float]:
    """Return the rates of copies of ``count`` bytes in GB/s, of and to each memory."""
    host = torch.empty(count, dtype=torch.uint8, pin_memory=device.type == "cuda")
    pageable = torch.ones(count, dtype=torch.uint8)
    here = torch.ones(count, dtype=torch.uint8, device=device)
    other = torch.empty_like(here)
    copies = {
        "device to device": lambda: other.copy_(here),
        "pinned host to device": lambda: here.copy_(host),
        "device to pinned host": lambda: host.copy_(here),
        "pageable host to device": lambda: here.copy_(pageable),
    }
    found = {}
    for name, copy in copies.items():
        timed(device, copy)
        moved = 2 * count if name == "device to device" else count
        found[name] = moved / timed(device, copy)[1] / 1e9
    return found
