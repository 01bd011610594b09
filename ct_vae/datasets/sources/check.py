"""Checks of the cases of a run before any volume is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.config.run import RunConfig
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.datasets.sources.problems import refuse
from ct_vae.datasets.sources.split import Split, list_split
from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.grid import Grid, Triple

_BYTES_PER_VOXEL = 2
# The rest is left for the model, the optimizer and the system.
_MEMORY_SHARE = 0.7


def checked_split(config: RunConfig) -> Split:
    """Return the cases of a run after all checks that need no voxels.

    Raises:
        ConfigError: If there are problems; lists all of them.
        InputError: If all problems are damaged or refused volumes.
    """
    split, problems = list_split(config.data)
    problems += case_problems(config, split.train) + validation_problems(split.val)
    refuse(problems, config.data.datalist or config.data.csv or "data")
    return split


def case_problems(config: RunConfig, cases: Sequence[TrainingCase]) -> list[CtVaeError]:
    """Return the errors for training cases that are damaged, too small, or too large for memory."""
    problems: list[CtVaeError] = []
    voxels = 0
    for case in cases:
        try:
            grid = case.header_grid()
        except CtVaeError as error:
            problems.append(error)
            continue
        if grid is not None:
            shape = oriented_shape(grid, config.preprocess)
            voxels += math.prod(shape)
            problems += patch_problems(case.key, shape, config)
    if config.data.cache_dir is None:
        # Set by torchrun.
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        problems += _memory_problems(voxels * _BYTES_PER_VOXEL, processes)
    return problems


def validation_problems(cases: Sequence[TrainingCase]) -> list[CtVaeError]:
    """Return the errors for validation cases with damaged headers."""
    problems: list[CtVaeError] = []
    for case in cases:
        try:
            case.header_grid()
        except CtVaeError as error:
            problems.append(error)
    return problems


def holds_patch(shape: Sequence[int], config: RunConfig) -> bool:
    """Return True if a training patch fits into a volume of this shape."""
    patch = config.patch_size
    return all(side <= room for side, room in zip(patch, shape[: len(patch)], strict=True))


def patch_problems(key: str, shape: Sequence[int], config: RunConfig) -> list[CtVaeError]:
    """Return the error for a volume of this oriented shape if it is smaller than a patch."""
    if config.data.small_volumes != "refuse" or holds_patch(shape, config):
        return []
    patch = config.patch_size
    sides = tuple(shape)[: len(patch)]
    factor = config.model.factor
    largest = [min(p, n) // f * f for p, n, f in zip(patch, sides, factor, strict=True)]
    found = " x ".join(map(str, shape))
    hint = f"it takes patches of at most {largest}" if min(largest) else "leave it out"
    return [
        ConfigError(
            f"{key}: training.patch_size {list(patch)} does not fit into its {found} voxels",
            f"{hint}, or set data.small_volumes to pad or skip",
        )
    ]


def oriented_shape(grid: Grid, preprocess: PreprocessConfig) -> Triple:
    """Return the shape of a volume after orientation and resampling, or one voxel more."""
    oriented = grid.reorient(preprocess.axcodes)
    if preprocess.spacing_mm is None:
        return oriented.shape
    # MONAI may return one voxel less, which is checked again when the volume is loaded.
    x, y, z = (
        math.ceil((n - 1) * old / new) + 1
        for n, old, new in zip(
            oriented.shape, oriented.spacing_mm, preprocess.spacing_mm, strict=True
        )
    )
    return x, y, z


def _memory_problems(needed: int, processes: int) -> list[CtVaeError]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed * processes <= _MEMORY_SHARE * memory:
        return []
    copies = f" in each of {processes} processes" if processes > 1 else ""
    return [
        ConfigError(
            f"the training volumes need {needed / 2**30:.1f} GiB{copies}, and this machine has "
            f"{memory / 2**30:.1f}",
            "name a folder with room on disk as data.cache_dir, which all processes share",
        )
    ]
