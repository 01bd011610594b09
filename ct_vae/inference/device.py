"""Selection of the device and its available memory."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from ct_vae.errors import ConfigError, InputError

HOST = torch.device("cpu")
_FREE_SHARE = 0.6
# Resident memory as a share of the free memory from which the former matters for the latter. To get
# returned memory back takes as long as a small volume.
_HELD_SHARE = 0.25
# Option of the C library: size from which each block is mapped on its own.
_MMAP_THRESHOLD = -3
_LARGE_BLOCK = 2**20


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn failed memory allocations within the context into one clear error.

    Raises:
        InputError: If the block runs out of memory.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _too_large() from error
    except RuntimeError as error:
        # The CPU allocator raises a plain RuntimeError.
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _too_large() from error


def _too_large() -> InputError:
    return InputError(
        "this volume does not fit into memory",
        "use --tiling exact and a smaller --max-memory-gb, or --tiling blend and a smaller --tile",
    )


def pick_device(name: str | None) -> torch.device:
    """Return the named device; ``None`` selects the first CUDA device, or the CPU without one.

    Raises:
        ConfigError: If the named device does not exist; there is no fallback to another.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} is not a device name", "use cpu or cuda:0") from None
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if (device.index or 0) >= count:
        raise ConfigError(
            f"device {name!r} does not exist, this installation of torch sees {count} CUDA devices",
            "choose another --device or check 'nvidia-smi' and the build of torch",
        )
    return device


def device_of_process(environment: Mapping[str, str]) -> str | None:
    """Return the GPU that torchrun assigns to this process, or ``None`` without torchrun or GPUs.

    Raises:
        ConfigError: If ``LOCAL_RANK`` is not a number.
    """
    number = device_of_rank(environment)
    return None if number is None or not torch.cuda.is_available() else f"cuda:{number}"


def device_of_rank(environment: Mapping[str, str]) -> int | None:
    """Return the number of the GPU that torchrun assigns to this process, ``None`` outside it."""
    if "RANK" not in environment or "LOCAL_RANK" not in environment:
        return None
    return environment_number(environment, "LOCAL_RANK")


def environment_number(environment: Mapping[str, str], name: str) -> int:
    """Return the variable ``name`` as an integer of at least 0.

    Raises:
        ConfigError: If it is not set or is not such a number.
    """
    text = environment.get(name, "")
    if not re.fullmatch(r"\d+", text):
        raise ConfigError(
            f"the environment's {name} is {text!r}, not a number",
            "start the processes with torchrun or as a job array, or unset the variable; "
            "--shard i/n divides the cases without either",
        )
    return int(text)


def free_bytes(device: torch.device) -> int:
    """Return the memory in bytes that can be allocated on a GPU, or on the machine.

    On a GPU this includes what PyTorch has reserved and not in use, on the machine it is limited by
    the control group.
    """
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + idle
    free = [_machine_free()]
    group = Path("/sys/fs/cgroup")
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is not None and used is not None:
        free.append(max(0, limit - used))
    return min(free)


def memory_budget(device: torch.device, max_memory_gb: float | None) -> int:
    """Return the memory in bytes that may still be allocated.

    Args:
        device: Device that runs the model.
        max_memory_gb: Limit in GiB, of the process on a CPU and of the allocations on a GPU, both
            including what is already allocated. ``None`` allows three fifths of the free memory.
    """
    limited = max_memory_gb is not None
    if device.type == "cpu" and (limited or resident_bytes() > _HELD_SHARE * free_bytes(device)):
        _return_free_memory(limited)
    if max_memory_gb is None:
        return int(_FREE_SHARE * free_bytes(device))
    held = resident_bytes() if device.type == "cpu" else torch.cuda.memory_allocated(device)
    return int(max_memory_gb * 2**30) - held


def _return_free_memory(limited: bool) -> None:
    """Return freed memory that the C library keeps for later allocations to the system.

    Otherwise it would count as in use by the cases before.

    Args:
        limited: If true, large blocks are returned as soon as they are freed from now on. Gaps
            between blocks would otherwise take tens of MiB that no plan can know.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        if limited:
            library.mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
        library.malloc_trim(0)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes.

    If the system has no such figure, return its peak.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return int(peak_memory_mb(torch.device("cpu")) * 2**20)
    return pages * os.sysconf("SC_PAGE_SIZE")


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure the peak memory anew, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory since `reset_peak_memory`, or else of this process, in MiB.

    It is the memory allocated on a GPU, or the resident memory on the CPU.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    own = _peak_of_program()
    if own is not None:
        return own / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _peak_of_program() -> int | None:
    """Return the peak resident memory on Linux in bytes.

    Unlike that of ``getrusage``, it does not include the parent process before ``exec``.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None


def _machine_free() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
