"""Samples of a run: reconstructions and decoded random latents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ct_vae.batch.run_batch import run_batch
from ct_vae.errors import ConfigError, OutputError
from ct_vae.evaluation.pictures.panels import middle_of
from ct_vae.evaluation.pictures.sample_sheet import SheetRow, sheet_row, write_sheet
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES, Case
from ct_vae.inference.codec import Codec, load_codec
from ct_vae.inference.random_latents import RandomLatents
from ct_vae.io import write_volume
from ct_vae.io.walk import real_path
from ct_vae.masks import body_mask
from ct_vae.models.weights import WEIGHTS, own_config
from ct_vae.training.checkpoints.best import BEST
from ct_vae.training.sample_sources import run_settings
from ct_vae.volume import DERIVED_MARK, Volume

Checkpoint = Literal["best", "last", "both"]
Triple = tuple[float, float, float]
Originals = Mapping[Case, Callable[[], Volume]]

PICTURE = "samples.png"
_LAST = "last"
_OURS = re.compile(r"(random_\d{3,}|recon_.+)\.nii\.gz|" + re.escape(PICTURE))
_USUAL_SIDE = 64
_USUAL_SPACING_MM = (1.5, 1.5, 1.5)
# Largest number of rows of each kind, as the height of a PNG is limited.
MOST_SHOWN = 24


@dataclass(frozen=True)
class SampleOptions:
    """Options of random latents and of writing.

    Attributes:
        count: Number of random latents.
        seed: Seed; each latent depends only on the seed and its number.
        size: Size of their volumes in voxels, rounded up to the factor, in the order of the
            preprocessing's ``axcodes``; ``None`` for a training patch of the run, else 64 each.
        spacing_mm: Spacing of their volumes, in the same order; ``None`` for that of the
            preprocessing, else that of the first original, else 1.5 each.
        overwrite: Remove earlier samples from the folder.
    """

    count: int = 4
    seed: int = 0
    size: tuple[int, int, int] | None = None
    spacing_mm: Triple | None = None
    overwrite: bool = False


def sample_run(
    run: Path,
    originals: Originals,
    folder: Path,
    options: SampleOptions,
    checkpoint: Checkpoint = "last",
    *,
    load: Callable[[Path], Codec] = load_codec,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Write reconstructions of volumes, decoded random latents, and an image of all of them.

    Volumes are named ``recon_<case>`` and ``random_<number>``, in folders ``best`` and ``last`` for
    ``both``; the image has numbers instead of names of cases.

    Args:
        run: A run folder, or another model folder, which has no ``best``.
        originals: Volumes to reconstruct, see `find_originals`.
        folder: Folder of the results.
        options: Options of random latents and of writing.
        checkpoint: The model of the best validation, that of the last save, or both.
        load: Loads the codec of a model folder.
        report: Called with a line for every file and every refused case.

    Returns:
        Exit code, as of `run_batch`.

    Raises:
        ConfigError: If the model, the options or the folder are invalid; nothing is written or
            removed then.
        WeightsError: If the model folder is damaged.
        OutputError: If a result cannot be written.
    """
    models = _model_folders(run, checkpoint)
    size = options.size or _usual_size(run)
    passes = []
    for name, place in models.items():
        target = folder / name if len(models) > 1 else folder
        one = _Pass(load(place), place, name, target, options, report)
        one.check(size)
        passes.append(one)
    _clear(folder, originals, options.overwrite)
    return max(one.run(originals, size) for one in passes)


class _Pass:
    """Samples of one model."""

    def __init__(
        self,
        codec: Codec,
        model_folder: Path,
        checkpoint: str,
        folder: Path,
        options: SampleOptions,
        report: Callable[[str], None],
    ) -> None:
        config = own_config(model_folder)
        assert config is not None  # or the codec could not have been loaded
        self._codec = codec
        self._random = RandomLatents(codec, config.latent) if options.count else None
        seen = "" if config.samples_seen is None else f", {config.samples_seen} samples seen"
        self._title = f"{config.name}: {checkpoint}{seen}; seed {options.seed}; {DERIVED_MARK}"
        self._folder, self._options, self._report = folder, options, report
        self._rows: list[SheetRow] = []
        self._spacing_mm = options.spacing_mm or codec.preprocessor.spacing_mm
        self._done = 0

    def check(self, size: Sequence[int]) -> None:
        """Check that random latents of this size can be drawn."""
        if self._random:
            self._random.check(size, self._spacing_mm or _USUAL_SPACING_MM)

    def run(self, originals: Originals, size: Sequence[int]) -> int:
        """Write all samples and return the exit code."""
        total = len(originals) + self._options.count
        names = dict(zip(originals, _names([case.key for case in originals]), strict=True))

        def reconstruct(case: Case) -> None:
            self._done += 1
            path = self._folder / f"recon_{names[case]}.nii.gz"
            label = f"case {self._done}"
            self._reconstruct(originals[case](), path, label)
            self._report(f"[{self._done}/{total}] {path} is {label}")

        code = run_batch(list(originals), reconstruct, "sample", self._folder, self._report)
        for index in range(self._options.count):
            path = self._folder / f"random_{index:03d}.nii.gz"
            self._draw(index, size, path)
            self._report(f"[{len(originals) + index + 1}/{total}] {path}")
        if self._rows:
            write_sheet(self._rows, self._folder / PICTURE, title=self._title)
        if max(len(originals), self._options.count) > MOST_SHOWN:
            self._report(f"the picture shows the first {MOST_SHOWN} of each kind")
        return code

    def _reconstruct(self, volume: Volume, path: Path, label: str) -> None:
        result = self._codec.reconstruct(volume)
        write_volume(result, path)
        if self._spacing_mm is None:
            axcodes = self._codec.preprocessor.axcodes
            self._spacing_mm = volume.grid.reorient(axcodes).spacing_mm
        if self._done <= MOST_SHOWN:
            at = middle_of(volume, body_mask(volume))
            self._rows.append(sheet_row(f"{label}\noriginal", volume, at))
            self._rows.append(sheet_row(f"{label}\nreconstruction", result, at))

    def _draw(self, index: int, size: Sequence[int], path: Path) -> None:
        assert self._random is not None
        spacing_mm = self._spacing_mm or _USUAL_SPACING_MM
        latent = self._random.draw(size, spacing_mm, self._options.seed, index)
        volume = self._codec.decode(latent)
        write_volume(volume, path)
        if index < MOST_SHOWN:
            sides = " x ".join(map(str, volume.grid.shape))
            self._rows.append(sheet_row(f"random {index:03d}\n{sides} voxels", volume))


def _model_folders(run: Path, checkpoint: Checkpoint) -> dict[str, Path]:
    """Return the requested models by the names of their checkpoints."""
    folders = {BEST: run / BEST, _LAST: run}
    if checkpoint != _LAST and not (run / BEST / WEIGHTS).is_file():
        raise ConfigError(
            f"{run}: has no best model, which only runs with validation volumes save",
            "use --checkpoint last",
        )
    return folders if checkpoint == "both" else {checkpoint: folders[checkpoint]}


def _usual_size(run: Path) -> tuple[int, int, int]:
    found = run_settings(run)
    if found is None:
        return _USUAL_SIDE, _USUAL_SIDE, _USUAL_SIDE
    # A sample of a 2-D model is one slice.
    x, y, z, *_ = (*found[0].patch_size, 1, 1)
    return x, y, z


def _names(keys: Sequence[str]) -> list[str]:
    """Return a unique file name for each case."""
    names: list[str] = []
    for key in keys:
        stem = next((key[: -len(s)] for s in VOLUME_SUFFIXES if key.lower().endswith(s)), key)
        plain = re.sub(r"[/\\]+", "_", stem).lstrip("._") or "case"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names


def _clear(folder: Path, originals: Originals, overwrite: bool) -> None:
    """Remove the samples of an earlier call."""
    places = (folder, folder / BEST, folder / _LAST)
    for case in originals:
        path = real_path(case.path)
        if path.parent in map(real_path, places) and _OURS.fullmatch(path.name):
            raise ConfigError(
                f"{case.path}: a result would replace an input",
                "choose another folder for -o",
            )
    try:
        old = [
            path
            for place in places
            if place.is_dir()
            for path in sorted(place.iterdir())
            if _OURS.fullmatch(path.name)
        ]
        if old and not overwrite:
            raise ConfigError(
                f"{folder}: holds {len(old)} earlier samples, such as {old[0].name}",
                "choose another folder for -o, or add --overwrite to remove them",
            )
        for path in old:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror}", "choose another folder"
        ) from error
