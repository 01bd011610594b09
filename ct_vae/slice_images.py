"""Slices through a volume as images in radiological convention, with sides and a scale bar."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ct_vae.grid import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage

# Sides of the patient at the left, right, top and bottom of an image.
_SIDES = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
PLANES = tuple(_SIDES)
# Letters and bar are white with a black outline, since tissue and air are as bright.
_INK, _OUTLINE = "white", "black"
_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200)
_LONGEST_BAR = 1 / 3
# Soft tissue window, in HU.
_PREVIEW_HU = (-160.0, 240.0)
_PREVIEW_INCHES, _PREVIEW_DPI = 2.6, 100


@dataclass(frozen=True, eq=False)
class SliceImage:
    """A slice as it is shown: rows upward, columns rightward.

    Attributes:
        plane: ``axial``, ``coronal`` or ``sagittal``.
        pixels: Values ``(rows, columns)``.
        aspect: Height of a pixel over its width.
        column_mm: Width of a pixel.
    """

    plane: str
    pixels: NDArray[np.floating]
    aspect: float
    column_mm: float

    def copy(self) -> SliceImage:
        """Return the slice with pixels of its own, which do not keep the volume in memory."""
        return replace(self, pixels=self.pixels.copy())

    @property
    def width_mm(self) -> float:
        """Width of the slice."""
        return self.column_mm * int(self.pixels.shape[1])

    @property
    def height_mm(self) -> float:
        """Height of the slice."""
        return self.column_mm * self.aspect * int(self.pixels.shape[0])


def slice_images(
    voxels: NDArray[np.generic], grid: Grid, at: tuple[int, int, int] | None = None
) -> tuple[SliceImage, SliceImage, SliceImage]:
    """Return the axial, coronal and sagittal slices through a voxel.

    The patient's right is on the left of axial and coronal slices, anterior is up in axial slices
    and left in sagittal ones, and the head is up.

    Args:
        voxels: Array ``(X, Y, Z)`` on the grid.
        grid: Grid of the voxels.
        at: Indices of the voxel in RAS order; defaults to the center.
    """
    ras = grid.reorient_array(voxels, "RAS")
    across, deep, tall = grid.reorient("RAS").spacing_mm
    x, y, z = at or (n // 2 for n in ras.shape)
    axial, coronal, sagittal = (
        cut.T.astype(np.float32, copy=False)
        for cut in (ras[::-1, :, z], ras[::-1, y, :], ras[x, ::-1, :])
    )
    return (
        SliceImage("axial", axial, deep / across, across),
        SliceImage("coronal", coronal, tall / across, across),
        SliceImage("sagittal", sagittal, tall / deep, deep),
    )


def draw_slice(
    axis: Axes,
    image: SliceImage,
    colors: str | Colormap,
    limits: tuple[float, float],
    *,
    marks: bool = True,
) -> AxesImage:
    """Draw a slice without ticks.

    Args:
        axis: Axis to draw on.
        image: Slice.
        colors: Color map.
        limits: Values at the ends of the color scale.
        marks: True to draw the sides of the patient and a scale bar.
    """
    axis.set_xticks([])
    axis.set_yticks([])
    drawn = axis.imshow(
        image.pixels,
        colors,
        aspect=image.aspect,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        interpolation="nearest",
    )
    if marks:
        _mark_sides(axis, image)
        _draw_scale_bar(axis, image)
    return drawn


def preview_png(voxels: NDArray[np.generic], grid: Grid) -> bytes:
    """Return a PNG with the three slices through the center, in the soft tissue window.

    Args:
        voxels: Array ``(X, Y, Z)`` in HU.
        grid: Grid of the voxels.
    """
    from matplotlib.figure import Figure

    slices = slice_images(voxels, grid)
    widths = [s.pixels.shape[1] / (s.aspect * s.pixels.shape[0]) for s in slices]
    # Very long or thin volumes would give huge or invisible images.
    widths = [min(max(width, 0.2), 3) for width in widths]
    figure = Figure((_PREVIEW_INCHES * sum(widths), _PREVIEW_INCHES), facecolor="black")
    axes = figure.subplots(1, 3, width_ratios=widths)
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.02)
    for axis, image in zip(axes, slices, strict=True):
        draw_slice(axis, image, "gray", _PREVIEW_HU)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_PREVIEW_DPI)
    return file.getvalue()


def scale_bar_mm(width_mm: float) -> int:
    """Return the longest round length that fills at most a third of an image of this width."""
    return max((n for n in _BARS_MM if n <= _LONGEST_BAR * width_mm), default=_BARS_MM[0])


def _mark_sides(axis: Axes, image: SliceImage) -> None:
    left, right, top, bottom = _SIDES[image.plane]
    places: Sequence[tuple[str, float, float]] = (
        (left, 0.03, 0.5),
        (right, 0.97, 0.5),
        (top, 0.5, 0.96),
        (bottom, 0.5, 0.04),
    )
    for text, x, y in places:
        _write(axis, text, x, y)


def _draw_scale_bar(axis: Axes, image: SliceImage) -> None:
    from matplotlib.patheffects import withStroke

    length = scale_bar_mm(image.width_mm)
    share = length / image.width_mm
    (bar,) = axis.plot(
        (0.96 - share, 0.96), (0.04, 0.04), color=_INK, linewidth=1.5, transform=axis.transAxes
    )
    bar.set_path_effects([withStroke(linewidth=3, foreground=_OUTLINE)])
    text = f"{length} mm" if length < 10 else f"{length // 10} cm"
    _write(axis, text, 0.96 - share / 2, 0.09)


def _write(axis: Axes, text: str, x: float, y: float) -> None:
    from matplotlib.patheffects import withStroke

    axis.text(
        x,
        y,
        text,
        color=_INK,
        fontsize=7,
        ha="center",
        va="center",
        transform=axis.transAxes,
        path_effects=[withStroke(linewidth=1.5, foreground=_OUTLINE)],
    )
