"""Division of the preparation of patches between processes of the host and the device."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ct_vae.config.run import RunConfig
from ct_vae.training.distributed import DistributedContext

# More processes prepare patches faster than any GPU trains on them.
_MOST = 16
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def with_workers(config: RunConfig, world: DistributedContext, numbered: bool) -> RunConfig:
    """Return the configuration with a number in `training.workers`, and a device of augmentation.

    Args:
        config: Configuration of the run; given values are kept.
        world: Ranks that share a batch.
        numbered: True if patches depend only on the seed and their number. Data sets given in
            Python may use random numbers or GPUs in ways that a second process would change.
    """
    on_gpu = numbered and world.device.type == "cuda"
    chosen = {
        "workers": _spare_cpus(world.ranks_on_machine) if on_gpu else 0,
        "augment_on_device": on_gpu,
    }
    missing = {k: v for k, v in chosen.items() if getattr(config.training, k) is None}
    if not missing:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update=missing)})


def available_cpus() -> int:
    """Return the number of CPUs that this process may use, by affinity and control group."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    limits = [limit for limit in map(_limit, _group_folders()) if limit is not None]
    return max(1, math.floor(min([float(count), *limits])))


def _spare_cpus(ranks: int) -> int:
    """Return the CPUs of one of several ranks on this machine, without that of its main process."""
    return min(_MOST, max(0, available_cpus() // ranks - 1))


def _group_folders() -> list[Path]:
    """Return the folders of the control groups of this process, up to the root."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _GROUPS / controllers
        own = root / name.lstrip("/")
        folders += [folder for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return folders


def _limit(folder: Path) -> float | None:
    """Return the limit of a control group in CPUs, of version 2 or 1, or ``None`` without one."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = " ".join((folder / name).read_text() for name in names).split()
            quota, period = map(int, words)
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None
