"""Images of the original, the reconstruction and the signed error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.metrics.metric_rows import check_same_grid
from ct_vae.evaluation.pictures.error_colors import ERROR_HU, error_colormap
from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.io.atomic.file import atomic_write
from ct_vae.masks import Mask, body_mask
from ct_vae.slice_images import PLANES, SliceImage, draw_slice, slice_images
from ct_vae.volume import Volume

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

DEFAULT_WINDOWS = (WINDOWS["lung"], WINDOWS["soft_tissue"])
_INCHES = 3.0


def write_panel(
    reference: Volume,
    reconstruction: Volume,
    path: str | Path,
    windows: Sequence[Window] = DEFAULT_WINDOWS,
    *,
    body: Mask | None = None,
    error_hu: float = ERROR_HU,
    title: str = "",
) -> None:
    """Write a PNG with original, reconstruction and signed error in HU, for each window.

    Columns are the axial, coronal and sagittal slices through the middle of the body, in
    radiological convention: the patient's right on the image's left, front up in axial slices,
    head up in the others, front on the left in sagittal ones. The image contains no name except
    ``title``.

    Args:
        reference: Original volume.
        reconstruction: Reconstruction on the same grid.
        path: Output file.
        windows: CT windows to show, with two rows each.
        body: Mask that defines the center; defaults to the body of the original.
        error_hu: Upper end of the color scale of the error in HU; the colors are those of the
            report.
        title: Title of the image, such as the name of the model.

    Raises:
        InputError: If the grids differ.
        OutputError: If the file cannot be written.
    """
    check_same_grid(reference, reconstruction)
    original, result = (v.voxels.astype(np.float32) for v in (reference, reconstruction))
    middle = middle_of(reference, body or body_mask(reference))
    figure, axes = _figure(len(windows), slice_images(original, reference.grid, middle), title)
    gray = [
        (window, name, voxels)
        for window in windows
        for name, voxels in (("original", original), ("reconstruction", result))
    ]
    for row, (window, name, voxels) in zip(axes, gray, strict=False):
        _draw(row, slice_images(voxels, reference.grid, middle), "gray", window.low, window.high)
        row[0].set_ylabel(f"{name}\n{window.name} {window.width:g}/{window.level:g} HU")
    last = _draw(
        axes[-1],
        slice_images(result - original, reference.grid, middle),
        error_colormap(),
        -error_hu,
        error_hu,
    )
    axes[-1][0].set_ylabel("reconstruction\n- original")
    bar = figure.colorbar(last, ax=list(axes[-1]), location="bottom", shrink=0.6, extend="both")
    bar.set_label("error in HU")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _figure(
    windows: int, slices: Sequence[SliceImage], title: str
) -> tuple[Figure, NDArray[np.object_]]:
    from matplotlib.figure import Figure

    widths = column_widths(slices)
    rows = 2 * windows + 1
    figure = Figure(
        figsize=(_INCHES * min(sum(widths), 8) + 0.8, _INCHES * rows + 0.9), layout="constrained"
    )
    axes = figure.subplots(rows, 3, squeeze=False, width_ratios=widths)
    for axis, name in zip(axes[0], PLANES, strict=True):
        axis.set_title(name)
    figure.suptitle(title)
    return figure, axes


def column_widths(slices: Sequence[SliceImage]) -> list[float]:
    """Return the widths of the columns of a row, in units of the height of the first slice.

    Slices that are lower than the first one, in mm, have its scale, so that the axial slice of a
    thin volume is not smaller than its flat coronal one. Taller slices are scaled to its height.
    """
    first = slices[0].height_mm
    return [min(1.0, s.height_mm / first) * s.width_mm / s.height_mm for s in slices]


def _draw(
    row: NDArray[np.object_],
    slices: Sequence[SliceImage],
    colors: str | Colormap,
    low: float,
    high: float,
) -> AxesImage:
    for axis, image in zip(row, slices, strict=True):
        last = draw_slice(axis, image, colors, (low, high))
    return last


def middle_of(reference: Volume, body: Mask) -> tuple[int, int, int]:
    """Return the center (RAS) of the bounding box of the body, or of the volume if it is empty."""
    voxels = reference.grid.reorient_array(body.voxels, "RAS")
    where = [np.flatnonzero(voxels.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    x, y, z = (
        int(found[0] + found[-1]) // 2 if found.size else n // 2
        for found, n in zip(where, voxels.shape, strict=True)
    )
    return x, y, z
