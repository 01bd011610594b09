"""Validation image: slices of the first cases, their reconstructions and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.evaluation.pictures.error_colors import ERROR_HU, error_colormap
from ct_vae.evaluation.pictures.panels import DEFAULT_WINDOWS, middle_of
from ct_vae.evaluation.windows import Window
from ct_vae.io.atomic.file import atomic_write
from ct_vae.masks import Mask
from ct_vae.slice_images import PLANES, SliceImage, draw_slice, slice_images
from ct_vae.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Number of cases in an image.
PICTURED_CASES = 3
_PLANES = PLANES[:2]
_WINDOWS = DEFAULT_WINDOWS
_COLUMNS = 2 * len(_WINDOWS) + 1
# In inches: width of a cell, margins, gap between cells, and height of a color bar.
_CELL, _LEFT, _RIGHT, _TOP, _BOTTOM, _GAP, _BAR = 2.3, 0.35, 0.1, 0.85, 0.75, 0.06, 0.16
_DPI = 110


@dataclass(frozen=True, eq=False)
class PicturedSlice:
    """One slice of the original and of the reconstruction, in HU.

    Attributes:
        original: Slice of the original.
        reconstruction: The same slice of the reconstruction.
        label: Name of the slice.
        marks: True to draw the sides of the patient and a scale bar, which a patch does not tell.
    """

    original: SliceImage
    reconstruction: SliceImage
    label: str
    marks: bool = True


CasePicture = tuple[PicturedSlice, ...]


def case_picture(original: Volume, reconstruction: Volume, body: Mask) -> CasePicture:
    """Keep the axial and the coronal slice through the middle of the body."""
    pairs = _slices(original, reconstruction, middle_of(original, body))
    return tuple(PicturedSlice(*pair, pair[0].plane) for pair in pairs)


def patch_picture(original: Volume, reconstruction: Volume) -> CasePicture:
    """Keep the middle slices of a patch, whose orientation and spacing are unknown.

    The only slice of a patch with a single slice is kept.
    """
    shape = original.grid.shape
    middle = (shape[0] // 2, shape[1] // 2, shape[2] // 2)
    pairs = _slices(original, reconstruction, middle)
    labels = ("axes 1, 2", "axes 1, 3") if shape[2] > 1 else ("",)
    return tuple(
        PicturedSlice(*pair, label, marks=False) for pair, label in zip(pairs, labels, strict=False)
    )


def _slices(
    original: Volume, reconstruction: Volume, at: tuple[int, int, int]
) -> list[tuple[SliceImage, SliceImage]]:
    pairs = (slice_images(v.voxels, v.grid, at) for v in (original, reconstruction))
    # Copies, since views would keep the volume in memory.
    found = [(before.copy(), after.copy()) for before, after in zip(*pairs, strict=True)]
    return found[: len(_PLANES)]


def write_validation_picture(
    cases: Sequence[CasePicture], path: str | Path, samples_seen: int
) -> None:
    """Write a PNG with two rows for each case, axial and coronal, or one for a 1-D or 2-D patch.

    Columns are original and reconstruction in the lung and in the soft tissue window, and the
    signed error in HU. Slices are in radiological convention. Cases have numbers, not names.

    Raises:
        OutputError: If the file cannot be written.
    """
    slices = [(number, one) for number, case in enumerate(cases) for one in case]
    figure, axes = _figure([one for _, one in slices], samples_seen)
    for row, (number, one) in zip(axes, slices, strict=True):
        kind = "case" if one.marks else "patch"
        row[0].set_ylabel(", ".join(filter(None, (f"{kind} {number}", one.label))))
        images = _draw(row, one)
    for place, (image, label) in enumerate(images):
        _color_bar(figure, image, label, axes[-1][2 * place : 2 * place + 2])
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=_DPI)


def _draw(row: Sequence[Axes], one: PicturedSlice) -> list[tuple[AxesImage, str]]:
    """Fill a row; return an image and a label for each color bar."""
    shown = []
    for place, window in enumerate(_WINDOWS):
        limits = window.low, window.high
        for column, image in enumerate((one.original, one.reconstruction)):
            last = draw_slice(row[2 * place + column], image, "gray", limits, marks=one.marks)
        shown.append((last, f"HU, {_name(window)} {window.width:g}/{window.level:g}"))
    error = replace(one.original, pixels=one.reconstruction.pixels - one.original.pixels)
    limits = (-ERROR_HU, ERROR_HU)
    last = draw_slice(row[-1], error, error_colormap(), limits, marks=one.marks)
    shown.append((last, "error in HU"))
    return shown


def _color_bar(figure: Figure, image: AxesImage, label: str, above: Sequence[Axes]) -> None:
    first, last = above[0].get_position(), above[-1].get_position()
    height = figure.get_figheight()
    box = (first.x0, first.y0 - 1.5 * _BAR / height, last.x1 - first.x0, _BAR / height)
    bar = figure.colorbar(
        image, cax=figure.add_axes(box), orientation="horizontal", extend="both", extendfrac=0.03
    )
    bar.set_label(label)


def _figure(slices: Sequence[PicturedSlice], samples_seen: int) -> tuple[Figure, list[list[Axes]]]:
    """Create axes of equal width without a layout engine, which would be slower than drawing."""
    from matplotlib.figure import Figure

    originals = [s.original for s in slices]
    heights = [_CELL * s.aspect * s.pixels.shape[0] / s.pixels.shape[1] for s in originals]
    width = _LEFT + _COLUMNS * (_CELL + _GAP) + _RIGHT
    height = _TOP + sum(heights) + _GAP * len(heights) + _BOTTOM
    figure = Figure(figsize=(width, height))
    title = f"validation after {samples_seen:,} samples".replace(",", " ")
    figure.text(0.5, 1 - 0.28 / height, title, ha="center", fontsize=12)
    axes, y = [], height - _TOP
    for tall in heights:
        y -= tall + _GAP
        left = (_LEFT + column * (_CELL + _GAP) for column in range(_COLUMNS))
        boxes = ((x / width, y / height, _CELL / width, tall / height) for x in left)
        axes.append([figure.add_axes(box) for box in boxes])
    for axis, text in zip(axes[0], _titles(), strict=True):
        axis.set_title(text, fontsize=10)
    return figure, axes


def _titles() -> list[str]:
    kinds = ("original", "reconstruction")
    titles = [f"{kind}\n{_name(window)}" for window in _WINDOWS for kind in kinds]
    return [*titles, "reconstruction\n- original"]


def _name(window: Window) -> str:
    return window.name.replace("_", " ")
