"""Images in a run folder; errors of drawing never end a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ct_vae.errors import CtVaeError, OutputError
from ct_vae.io.atomic.file import atomic_write
from ct_vae.training.reporting.curves import write_curves
from ct_vae.training.reporting.validation_picture import CasePicture, write_validation_picture

CURVES = "progress.png"
NEWEST = "validation.png"
HISTORY = "validation"
_MOST_KEPT = 12
_NAME = re.compile(r"samples-(\d{9})\.png")


def draw_pictures(
    folder: Path, metrics: Path, cases: Sequence[CasePicture], samples_seen: int
) -> list[str]:
    """Draw ``progress.png`` and, after a validation, ``validation.png``.

    Validation images are also kept as ``validation/samples-N.png``: at most twelve, with the first,
    the newest and evenly spaced ones in between.

    Args:
        folder: Run folder.
        metrics: Path of ``metrics.jsonl``.
        cases: Slices of the first cases; without them, there is no validation image.
        samples_seen: Samples seen by the run.

    Returns:
        A line for each image that could not be drawn.

    Raises:
        OutputError: If an image cannot be written, for example on a full disk.
    """
    failed = [_try(lambda: write_curves(metrics, folder / CURVES), CURVES)]
    if cases:
        failed.append(_try(lambda: _validation(folder, cases, samples_seen), NEWEST))
    return [line for line in failed if line is not None]


def clear_pictures(folder: Path) -> None:
    """Remove the images of an earlier run, but no other files.

    Raises:
        OutputError: If an image cannot be removed.
    """
    try:
        for path in (folder / CURVES, folder / NEWEST, *_kept(folder).values()):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot remove the pictures in {folder}: {error.strerror}",
            "choose another training.output_dir",
        ) from error


def _validation(folder: Path, cases: Sequence[CasePicture], samples_seen: int) -> None:
    path = folder / HISTORY / f"samples-{samples_seen:09}.png"
    write_validation_picture(cases, path, samples_seen)
    with atomic_write(folder / NEWEST) as file:
        file.write(path.read_bytes())
    _thin(folder)


def _thin(folder: Path) -> None:
    kept = _kept(folder)
    while len(kept) > _MOST_KEPT:
        clock = sorted(kept)
        # Remove the image that leaves the smallest gap.
        gaps = {clock[i]: clock[i + 1] - clock[i - 1] for i in range(1, len(clock) - 1)}
        kept.pop(min(gaps, key=gaps.__getitem__)).unlink(missing_ok=True)


def _kept(folder: Path) -> dict[int, Path]:
    found = ((_NAME.fullmatch(p.name), p) for p in (folder / HISTORY).glob("samples-*.png"))
    return {int(match[1]): path for match, path in found if match}


def _try(draw: Callable[[], None], name: str) -> str | None:
    try:
        draw()
    except CtVaeError:
        raise
    except Exception as error:  # Errors of an image must not end the run.
        return f"{name} could not be drawn: {type(error).__name__}: {error}"
    return None
