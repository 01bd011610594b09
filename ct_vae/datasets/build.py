"""Construction of the training patches of a run from its configuration and cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ct_vae.config.run import RunConfig
from ct_vae.datasets.cache.cached_cases import CachedCases
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.datasets.sources.check import case_problems, holds_patch, patch_problems
from ct_vae.datasets.sources.problems import refuse
from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.preprocess.pipeline import build_preprocessor

Report = Callable[[str], None]
# Cases named in one line.
_NAMED = 5
Load = Callable[[TrainingCase, bool], StoredVolume | None]


def build_patches(
    config: RunConfig, cases: Sequence[TrainingCase], report: Report, keep: bool = True
) -> PatchDataset:
    """Load the training cases, or find them in the cache, and build a data set of patches.

    Headers are checked first. All cases are checked before an error is raised, so that it lists
    every problem.

    Args:
        config: Configuration of the run.
        cases: Training cases.
        report: Called with a line for each loaded case. Lines contain names of files, so they must
            only be shown on the terminal.
        keep: Keep the voxels. If False, no patches can be cut and nothing is written; this only
            checks the cases.

    Raises:
        ConfigError: If cases cannot be used with these settings; lists all of them.
        InputError: If cases are damaged or refused; lists all of them.
        OutputError: If the cache cannot be written.
    """
    refuse(case_problems(config, cases))
    volumes = load_cases(config, cases, report, keep)
    return patch_dataset(config, _large_enough(config, cases, volumes, report))


def patch_dataset(config: RunConfig, volumes: Sequence[StoredVolume]) -> PatchDataset:
    """Cut the patches of a run from oriented volumes.

    Raises:
        ConfigError: If the model is 1-D.
    """
    training = config.training
    return PatchDataset(
        volumes,
        config.patch_size,
        training.samples,
        training.seed,
        training.foreground_share,
        config.data.augment,
        image_size(config),
    )


def _large_enough(
    config: RunConfig,
    cases: Sequence[TrainingCase],
    volumes: Sequence[StoredVolume],
    report: Report,
) -> list[StoredVolume]:
    """Return the volumes to train on, with their weights, and report those smaller than a patch."""
    pairs = list(zip(cases, volumes, strict=True))
    small = [case.key for case, v in pairs if not holds_patch(v.shape, config)]
    skips = config.data.small_volumes == "skip"
    if small:
        what = "left out" if skips else "filled up with air"
        named = ", ".join(small[:_NAMED]) + (", ..." if len(small) > _NAMED else "")
        report(f"{len(small)} training volume(s) smaller than a patch are {what}: {named}")
    kept = [(case, v) for case, v in pairs if not (skips and case.key in small)]
    if not kept:
        raise InputError(
            f"all {len(small)} training volumes are smaller than training.patch_size "
            f"{list(config.patch_size)}",
            "lower it, or set data.small_volumes to pad",
        )
    return [replace(v, weight=case.weight) for case, v in kept]


def image_size(config: RunConfig) -> tuple[int, ...] | None:
    """Return the size to which training images are resized, or ``None``."""
    return None if config.data.resize_to is None else config.image_size


def load_cases(
    config: RunConfig, cases: Sequence[TrainingCase], report: Report, keep: bool = True
) -> list[StoredVolume]:
    """Load and orient cases, into memory or the cache; without ``keep``, voxels are dropped.

    Raises:
        ConfigError: If cases are smaller than a patch; lists all of them.
        InputError: If cases are damaged or refused; lists all of them.
        OutputError: If the cache cannot be written.
    """
    cache = _cache(config, report, keep)
    found = {} if cache is None else cache.find_all(cases)
    load = _loader(config, cache) if keep else _looker(config)
    volumes: dict[int, StoredVolume] = {}
    problems: dict[int, CtVaeError] = {}
    # Processes that start together share the work, and wait only if nothing else is left.
    for wait in (False, True):
        for index, case in enumerate(cases):
            if index in volumes or index in problems:
                continue
            try:
                volume = found.get(index) or load(case, wait)
            except (InputError, NoInputError) as error:
                problems[index] = InputError(error.cause, error.hint)
                continue
            if volume is None:
                continue
            volumes[index] = volume
            report(f"[{len(volumes) + len(problems)}/{len(cases)}] read training case {case.key}")
    unfit = [
        each for i, v in volumes.items() for each in patch_problems(cases[i].key, v.shape, config)
    ]
    refuse([*problems.values(), *unfit])
    return [volumes[index] for index in range(len(cases))]


def _cache(config: RunConfig, report: Report, keep: bool) -> CachedCases | None:
    folder = config.data.cache_dir
    return CachedCases(Path(folder), config.preprocess, report, keep) if folder else None


def _loader(config: RunConfig, cache: CachedCases | None) -> Load:
    """Return a function that loads cases into the cache, or into memory."""
    if cache is not None:
        return cache.load
    orient = build_preprocessor(config.preprocess).orient
    return lambda case, _: StoredVolume.of(orient(case.load()))


def _looker(config: RunConfig) -> Load:
    """Return a function that reads cases for checks, and drops their voxels."""
    orient = build_preprocessor(config.preprocess).orient
    return lambda case, _: StoredVolume.of(orient(case.load())).without_voxels()
