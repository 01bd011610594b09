"""Speed and memory of the coder of ``.latz`` files, for latents of several sizes.

Usage: python scripts/bench.py coder [LATENT...] [--step STEP] [--repetitions N] [--json FILE]

Without latents, smooth fields with noise are coded, at the bits per value that real latents take at
step 1. Speeds are of one thread, in MB of float32 values per second of processor time; the best of
the repetitions counts. Memory is the peak beyond input and result, for NumPy arrays and for the
resident memory of the process (Linux), in shares of the size of the latent in float32.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ct_vae.io import read_latent
from ct_vae.io.latent.entropy.coder import decode_integers, encode_integers
from ct_vae.io.latent.entropy.lattice import Integers
from ct_vae.io.latent.storage import store

SHAPES = ((1, 96, 96, 96), (4, 20, 20, 15), (4, 30, 30, 28), (4, 64, 64, 32), (4, 128, 128, 64))
SHAPES += ((16, 32, 32, 32), (16, 128, 128, 64))
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Result = TypeVar("Result")


@dataclass
class Row:
    """One latent.

    Attributes:
        name: Shape or file.
        values: Number of values.
        bits_per_value: Bits per value of the coded integers.
        encode_mb_s: Speed of encoding.
        decode_mb_s: Speed of decoding.
        encode_memory: Peak of NumPy arrays while encoding.
        decode_memory: Peak of NumPy arrays while decoding.
        encode_resident: Peak of resident memory while encoding.
        decode_resident: Peak of resident memory while decoding.
    """

    name: str
    values: int
    bits_per_value: float
    encode_mb_s: float
    decode_mb_s: float
    encode_memory: float
    decode_memory: float
    encode_resident: float | None
    decode_resident: float | None


def field(shape: Sequence[int]) -> Integers:
    """Return a smooth field with noise, as integers of about four bits."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=shape)
    smooth = sum(np.roll(noise, k, axis=axis) for axis in (1, 2, 3) for k in (-1, 0, 1))
    return np.rint(1.5 * smooth + 2 * rng.laplace(size=shape)).astype(np.int32)


def measure(name: str, integers: Integers, repetitions: int) -> Row:
    """Measure the coder on the integers ``(C, X, Y, Z)`` of a latent."""
    c, x, y, z = integers.shape
    size = 4 * integers.size
    # Tables of distributions are made once in a process.
    coded = encode_integers(integers)

    def encode() -> bytes:
        return encode_integers(integers)

    def decode() -> Integers:
        return decode_integers(coded, (c, x, y, z))

    if not np.array_equal(decode(), integers):
        raise SystemExit(f"{name}: the decoded integers differ")
    return Row(
        name,
        integers.size,
        8 * len(coded) / integers.size,
        size / 1e6 / best_seconds(encode, repetitions),
        size / 1e6 / best_seconds(decode, repetitions),
        array_peak(encode) / size,
        array_peak(decode) / size - 1,
        _share(resident_rise(encode), size, 0),
        _share(resident_rise(decode), size, 1),
    )


def best_seconds(run: Callable[[], object], repetitions: int) -> float:
    """Return the processor time of the fastest run."""
    seconds = []
    for _ in range(repetitions):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)


def array_peak(run: Callable[[], object]) -> int:
    """Return the peak of the memory in bytes that NumPy and Python allocate."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def resident_rise(run: Callable[[], object]) -> int | None:
    """Return the rise of the peak of resident memory in bytes; ``None`` where it is unknown."""
    if not _CLEAR.exists():
        return None
    # Memory that earlier runs have freed would be used again and not be seen.
    ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text("5")
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    line = next(row for row in _STATUS.read_text().splitlines() if row.startswith(name))
    return 1024 * int(line.split()[1])


def _share(rise: int | None, size: int, kept: int) -> float | None:
    return None if rise is None else max(0.0, rise / size - kept)


def latents(paths: Sequence[Path], step: float) -> Iterator[tuple[str, Integers]]:
    """Yield the integers of given latents, or those of generated fields."""
    for path in paths:
        yield path.name, store(read_latent(path), "coded", step).numbers
    for shape in () if paths else SHAPES:
        yield " x ".join(map(str, shape)), field(shape)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("latents", nargs="*", type=Path, metavar="LATENT")
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written")
    given: Any = parser.parse_args()
    rows = []
    print("| latent | values | bits per value | encode | decode | memory | resident memory |")
    print("|---|---|---|---|---|---|---|")
    for name, integers in latents(given.latents, given.step):
        row = measure(name, integers, given.repetitions)
        rows.append(asdict(row))
        resident = "unknown"
        if row.encode_resident is not None and row.decode_resident is not None:
            resident = f"{row.encode_resident:.2f}, {row.decode_resident:.2f}"
        print(
            f"| {name} | {row.values} | {row.bits_per_value:.1f} | {row.encode_mb_s:.0f} MB/s "
            f"| {row.decode_mb_s:.0f} MB/s | {row.encode_memory:.2f}, {row.decode_memory:.2f} "
            f"| {resident} |",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
