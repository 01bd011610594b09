"""Training patches per second from the cache of a run, and from memory-mapped arrays, in one run.

Usage: python scripts/bench.py cache [--folder DIR] [--shape X Y Z] [--volumes N] [--patches N]
                                      [--json FILE]

Volumes, by default of 512 x 512 x 300 voxels, are written twice into a temporary folder: as the
cache stores them, in bricks, and as arrays of NumPy, which are mapped for each patch. The same
random patches of 64^3 voxels, 0.8 of them centered on the body, are read from both in turns. Cold
reads drop the files from the page cache before each patch; bytes and requests that reach the disk
are counted by the system and do not depend on its speed. Warm batches come from the loader of a
run. Other work on the machine slows both, so medians and CPU times are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import conditions
from numpy.typing import NDArray

from ct_vae.config.data import AugmentConfig
from ct_vae.datasets.cache.stored_volume import StoredVolume, as_int16
from ct_vae.datasets.cache.volume_cache import VolumeCache, entry_key
from ct_vae.datasets.patches import PatchDataset
from ct_vae.grid import Grid, Triple
from ct_vae.training.data.loader import Batches
from ct_vae.volume import BODY_ABOVE_HU, Volume

PATCH = (64, 64, 64)
BATCH = 4
FOREGROUND = 0.8
_PAUSE_S = 0.05
AUGMENT = AugmentConfig(flip=(0.5, 0.5, 0.5), rotate_degrees=10.0, zoom=0.1, noise_hu=10.0)


@dataclass(frozen=True, eq=False)
class MappedVolume(StoredVolume):
    """A volume in an array of NumPy that is mapped for each access, as the cache once was.

    Attributes:
        array: The ``.npy`` file.
    """

    array: Path = Path()

    def box(self, low: Triple, high: Triple) -> NDArray[np.int16]:
        """Copy a box out of the mapped array."""
        mapped = np.load(self.array, mmap_mode="r")
        return np.array(mapped[tuple(map(slice, low, high))])

    def body_voxel(self, rank: int) -> NDArray[np.int64]:
        """Count the body voxels of the plane that holds the rank."""
        ends = np.cumsum(self.body_counts)
        plane = int(np.searchsorted(ends, rank, side="right"))
        section = np.load(self.array, mmap_mode="r")[plane]
        inside = rank - int(ends[plane] - self.body_counts[plane])
        flat = np.flatnonzero(section > BODY_ABOVE_HU)[inside]
        return np.array([plane, *np.unravel_index(flat, section.shape)], np.int64)


@dataclass
class Layout:
    """Patches from one layout of the files.

    Attributes:
        data: The patches.
        files: All files.
        cold_ms: Time of each patch with nothing in the page cache.
        read_mb: Bytes that reached the disk for each of them.
        requests: Requests that reached the disk for each of them, also those of other processes.
        warm_ms: Time of each patch with everything in the page cache.
        warm_cpu_ms: Mean CPU time of these.
    """

    data: PatchDataset
    files: Sequence[Path]
    cold_ms: list[float] = field(default_factory=list)
    read_mb: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)
    warm_cpu_ms: float = 0.0

    def figures(self) -> dict[str, float]:
        """Medians and rates of patches."""
        cold, warm = statistics.median(self.cold_ms), statistics.median(self.warm_ms)
        return {
            "cold_ms_per_patch": cold,
            "cold_patches_per_second": 1000 / cold,
            "cold_best_ms_per_patch": min(self.cold_ms),
            "read_mb_per_patch": statistics.mean(self.read_mb),
            "disk_requests_per_patch": statistics.median(self.requests),
            "warm_ms_per_patch": warm,
            "warm_patches_per_second": 1000 / warm,
            "warm_cpu_ms_per_patch": self.warm_cpu_ms,
        }


def synthetic(shape: Triple, seed: int) -> NDArray[np.int16]:
    """Noise of soft tissue in an ellipse, and air around it."""
    rng = np.random.default_rng(seed)
    x, y = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    plane = np.where(x**2 / 0.8 + y**2 / 0.5 < 1, 40.0, -1000.0).astype(np.float32)
    noise = rng.standard_normal((shape[0], shape[1], 1), np.float32) * 20
    drift = rng.standard_normal((1, 1, shape[2]), np.float32) * 5
    return as_int16(plane[..., None] + noise + drift)


def written(
    folder: Path, shape: Triple, count: int
) -> tuple[list[StoredVolume], list[StoredVolume]]:
    """Write the volumes in bricks and as arrays."""
    cache = VolumeCache(folder / "cache")
    bricks: list[StoredVolume] = []
    arrays: list[StoredVolume] = []
    for seed in range(count):
        voxels = synthetic(shape, seed)
        found = cache.put(entry_key(seed), Volume(voxels, Grid(shape, np.eye(4))))
        path = folder / f"{seed}.npy"
        with path.open("wb") as file:
            np.save(file, voxels)
            os.fsync(file.fileno())
        bricks.append(found)
        arrays.append(MappedVolume(found.shape, found.spacing_mm, found.body_counts, array=path))
    return bricks, arrays


def patches(
    volumes: Sequence[StoredVolume], length: int, augment: AugmentConfig | None = None
) -> PatchDataset:
    """The patches of a run with these volumes."""
    return PatchDataset(volumes, PATCH, length, 0, FOREGROUND, augment)


def drop(paths: Sequence[Path]) -> None:
    """Remove files from the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def disk_requests(path: Path) -> int:
    """Reads that the disk of a file has completed; 0 if the system does not tell."""
    return int(disk_property(path, "stat").split()[0])


def disk_property(path: Path, name: str) -> str:
    """A property of the disk of a file as the system writes it; 0 if it does not."""
    number = path.stat().st_dev
    known = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}") / name
    return known.read_text().strip() if known.exists() else "0"


def read_bytes() -> int:
    """Bytes that this process has caused to be read from disks."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def measure_cold(layouts: Sequence[Layout], count: int) -> None:
    """Read patches with nothing in the page cache; the layouts take turns."""
    for index in range(count):
        # The places of the patches are drawn before.
        for layout in layouts:
            layout.data[index]
        results = []
        for layout in layouts:
            drop(layout.files)
            # What the other layout has had read ahead may still be on its way.
            time.sleep(_PAUSE_S)
            before = read_bytes(), disk_requests(layout.files[0])
            began = time.perf_counter()
            results.append(layout.data[index])
            layout.cold_ms.append(1000 * (time.perf_counter() - began))
            layout.read_mb.append((read_bytes() - before[0]) / 1e6)
            layout.requests.append(disk_requests(layout.files[0]) - before[1])
        assert all(torch.equal(results[0], result) for result in results)


def measure_warm(layouts: Sequence[Layout], count: int) -> None:
    """Read patches that are in the page cache; the layouts take turns."""
    for layout in layouts:
        for index in range(count):
            layout.data[index]
    for index in range(count):
        for layout in layouts:
            began, cpu = time.perf_counter(), time.process_time()
            layout.data[index]
            layout.warm_cpu_ms += 1000 * (time.process_time() - cpu) / count
            layout.warm_ms.append(1000 * (time.perf_counter() - began))


def loader_rate(data: PatchDataset, count: int, workers: int) -> dict[str, float]:
    """Patches per second of the loader of a run, and the CPU time of all its processes."""

    def used() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        found = [resource.getrusage(kind) for kind in kinds]
        return sum(each.ru_utime + each.ru_stime for each in found)

    batches = Batches(data, count, BATCH, 0, workers)
    cpu = used()
    given = iter(batches(0))
    next(given)
    began = time.perf_counter()
    for _ in given:
        pass
    seconds = time.perf_counter() - began
    return {
        "patches_per_second": (count - BATCH) / seconds,
        "cpu_ms_per_patch": 1000 * (used() - cpu) / count,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both layouts and the loader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="folder on the disk to measure")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), help="of a volume")
    parser.add_argument("--volumes", type=int, default=6, help="number of volumes")
    parser.add_argument("--patches", type=int, default=48, help="cold patches of each layout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report: dict[str, Any] = {"conditions": conditions(1)}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bricks, arrays = written(Path(name), tuple(options.shape), options.volumes)
        layouts = {
            "arrays, mapped": Layout(
                patches(arrays, 10**6), [v.array for v in arrays if isinstance(v, MappedVolume)]
            ),
            "bricks": Layout(patches(bricks, 10**6), [v.file.path for v in bricks if v.file]),
        }
        report["conditions"]["read_ahead_kb"] = disk_property(Path(name), "queue/read_ahead_kb")
        measure_cold(list(layouts.values()), options.patches)
        measure_warm(list(layouts.values()), 4 * options.patches)
        report |= {title: layout.figures() for title, layout in layouts.items()}
        for title, augment in (("plain", None), ("augmented", AUGMENT)):
            for workers in (0, 2):
                rate = loader_rate(patches(bricks, 10**6, augment), 12 * options.patches, workers)
                report[f"loader, {title}, {workers} workers"] = rate
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def show(report: dict[str, Any]) -> None:
    """Print the figures."""
    for title, figures in report.items():
        if title != "conditions":
            print(title)
            for key, value in figures.items():
                if isinstance(value, float | int):
                    print(f"  {key:28s} {value:10.2f}")


if __name__ == "__main__":
    main()
