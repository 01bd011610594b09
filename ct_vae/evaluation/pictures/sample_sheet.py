"""Overview image of several volumes, with one row per volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.io.atomic.file import atomic_write
from ct_vae.slice_images import PLANES, SliceImage, draw_slice, slice_images
from ct_vae.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHEET_WINDOWS = (WINDOWS["soft_tissue"], WINDOWS["lung"])
# In inches.
_CELL = 1.7
_LEFT, _TOP, _EDGE = 0.6, 1.0, 0.1
# After the slices of a window, and between slices.
_GAP, _LINE = 0.2, 0.05
_DPI = 110


@dataclass(frozen=True, eq=False)
class SheetRow:
    """Content of a row, without the volume itself.

    Attributes:
        label: Label of the row.
        planes: Slices in HU, in the order of `PLANES`.
    """

    label: str
    planes: Sequence[SliceImage]


def sheet_row(label: str, volume: Volume, at: tuple[int, int, int] | None = None) -> SheetRow:
    """Return the row of a volume.

    Args:
        label: Label of the row.
        volume: Volume to show.
        at: Voxel (RAS indices) of the slices; defaults to the center of the volume.
    """
    # Copies, because a view would keep the volume in memory.
    slices = [image.copy() for image in slice_images(volume.voxels, volume.grid, at)]
    return SheetRow(label, slices)


def write_sheet(
    rows: Sequence[SheetRow],
    path: str | Path,
    windows: Sequence[Window] = SHEET_WINDOWS,
    *,
    title: str = "",
) -> None:
    """Write a PNG with axial, coronal and sagittal slices of each volume in each window.

    Slices are in radiological convention, as in `write_panel`. The image contains no names except
    ``title`` and the labels of its rows.

    Raises:
        OutputError: If the file cannot be written.
    """
    figure, axes = _figure(len(rows), windows, title)
    for row, cells in zip(rows, axes, strict=True):
        cells[0].set_ylabel(row.label, fontsize=9)
        columns = [(window, plane) for window in windows for plane in row.planes]
        for cell, (window, image) in zip(cells, columns, strict=True):
            # Hundreds of cells are too small for marks.
            draw_slice(cell, image, "gray", (window.low, window.high), marks=False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=_DPI)


def _figure(rows: int, windows: Sequence[Window], title: str) -> tuple[Figure, list[list[Axes]]]:
    """Create the cells at fixed positions; layout engines take minutes for hundreds of cells."""
    from matplotlib.figure import Figure

    group = len(PLANES) * _CELL + _GAP
    width, height = _LEFT + len(windows) * group, _TOP + rows * _CELL + _EDGE
    figure = Figure(figsize=(width, height))

    def header(inches: float, below_top: float, text: str, size: int) -> None:
        figure.text(inches / width, 1 - below_top / height, text, ha="center", fontsize=size)

    header(width / 2, 0.35, title, 12)
    left = []
    for place, window in enumerate(windows):
        start = _LEFT + place * group
        name = f"{window.name.replace('_', ' ')} {window.width:g}/{window.level:g} HU"
        header(start + (group - _GAP) / 2, 0.68, name, 11)
        for column, plane in enumerate(PLANES):
            left.append(start + column * _CELL)
            header(left[-1] + _CELL / 2, 0.92, plane, 9)
    size = (_CELL - _LINE) / width, (_CELL - _LINE) / height
    bottoms = (height - _TOP - (row + 1) * _CELL for row in range(rows))
    axes = [[figure.add_axes((x / width, y / height, *size)) for x in left] for y in bottoms]
    return figure, axes
