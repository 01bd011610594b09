"""From configuration and cases to the patches of a run."""

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
from ct_vae.preprocess.build import build_preprocessor

Report = Callable[[str], None]
# Cases named in one line.
_NAMED = 5
Load = Callable[[TrainingCase, bool], StoredVolume | None]


def build_patches(
    config: RunConfig, cases: Sequence[TrainingCase], report: Report, keep: bool = True
) -> PatchDataset:
    """Load the training cases, or find them in the cache, and cut patches from them.

    Headers are looked at first. A case that is refused does not stop the others, so that all are
    told at once; then nothing is trained.

    Args:
        config: The run.
        cases: What to train on.
        report: Takes a line about each case that is loaded. Names of files stand in it, which
            belong on the terminal and nowhere else.
        keep: Keep the voxels. Without them nothing can be cut, and nothing is written: this finds
            out what a run would refuse.

    Raises:
        ConfigError: With every case that cannot be trained on with these settings.
        InputError: With every case that is damaged or refused.
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
    """The volumes that are trained on, with their weights; those smaller than a patch are told."""
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
    """Sides to which training images are resized, or ``None``."""
    return None if config.data.resize_to is None else config.image_size


def load_cases(
    config: RunConfig, cases: Sequence[TrainingCase], report: Report, keep: bool = True
) -> list[StoredVolume]:
    """Oriented cases in their order, in memory or in the cache; without ``keep``, in neither.

    Raises:
        ConfigError: With every case into which no patch fits.
        InputError: With every case that is damaged or refused.
        OutputError: If the cache cannot be written.
    """
    load = _loader(config, report) if keep else _looker(config, report)
    volumes: dict[int, StoredVolume] = {}
    problems: dict[int, CtVaeError] = {}
    # Processes that start at once share the work, and wait only when nothing else is left to do.
    for wait in (False, True):
        for index, case in enumerate(cases):
            if index in volumes or index in problems:
                continue
            try:
                volume = load(case, wait)
            except (InputError, NoInputError) as error:
                problems[index] = InputError(error.cause, error.hint)
                continue
            if volume is None:
                continue
            volumes[index] = volume
            report(f"{len(volumes) + len(problems)} of {len(cases)} training cases: {case.key}")
    unfit = [
        each for i, v in volumes.items() for each in patch_problems(cases[i].key, v.shape, config)
    ]
    refuse([*problems.values(), *unfit])
    return [volumes[index] for index in range(len(cases))]


def _loader(config: RunConfig, report: Report) -> Load:
    """Loads cases into the cache, or into memory."""
    if config.data.cache_dir:
        return CachedCases(Path(config.data.cache_dir), config.preprocess, report).load
    orient = build_preprocessor(config.preprocess).orient
    return lambda case, _: StoredVolume.of(orient(case.load()))


def _looker(config: RunConfig, report: Report) -> Load:
    """Reads cases as a run would, unless the cache holds them, and keeps no voxel."""
    folder, orient = config.data.cache_dir, build_preprocessor(config.preprocess).orient
    cached = CachedCases(Path(folder), config.preprocess, report, False) if folder else None

    def look(case: TrainingCase, _: bool) -> StoredVolume:
        found = None if cached is None else cached.find(case)
        return found or StoredVolume.of(orient(case.load())).without_voxels()

    return look
