"""Draw the picture of the README: a CT, its latent, its reconstruction and the error.

Usage: python scripts/readme_picture.py VOLUME -o docs/images/overview.png

The committed picture shows a volume of Colorectal-Liver-Metastases (Simpson et al. 2023, TCIA,
doi:10.7937/QXK2-QG03), CC BY 4.0, encoded with ct-f4.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

import ct_vae
from ct_vae.evaluation.pictures.error_colors import ERROR_HU, error_colormap
from ct_vae.io import read_volume
from ct_vae.masks import body_mask
from ct_vae.slice_images import SliceImage, draw_slice, slice_images
from ct_vae.volume import Volume

WINDOW_HU = (-160.0, 240.0)
# In voxels.
MARGIN = 10
INCHES, TITLE_INCHES, DPI = 3.0, 0.3, 100


def draw(
    path: Annotated[Path, typer.Argument(metavar="VOLUME")],
    output: Annotated[Path, typer.Option("--output", "-o")],
    model: str = "ct-f4",
    channel: int = 0,
) -> None:
    """Write the picture of the axial slice through the center of a volume."""
    codec = ct_vae.load_codec(model)
    volume = around_body(read_volume(path))
    latent = codec.encode(volume)
    original, result, shown = (
        slice_images(voxels, grid)[0]
        for voxels, grid in (
            (volume.voxels, volume.grid),
            (codec.decode(latent).voxels, volume.grid),
            (latent.array[channel], latent.grid),
        )
    )
    error = replace(original, pixels=result.pixels - original.pixels)
    low, high = np.quantile(shown.pixels, (0.01, 0.99))
    panels: list[tuple[str, SliceImage, str | Colormap, tuple[float, float]]] = [
        ("original CT", original, "gray", WINDOW_HU),
        (f"latent, 1 of {len(latent.array)} channels", shown, "viridis", (float(low), float(high))),
        (
            "decoded CT",
            result,
            "gray",
            WINDOW_HU,
        ),
        (f"error, ±{ERROR_HU:g} HU", error, error_colormap(), (-ERROR_HU, ERROR_HU)),
    ]
    rows, columns = original.pixels.shape
    tall = INCHES * original.aspect * rows / columns + TITLE_INCHES
    figure = Figure((INCHES * len(panels), tall), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, (title, image, colors, limits) in zip(axes, panels, strict=True):
        draw_slice(axis, image, colors, limits)
        axis.set_title(title, fontsize=10)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=DPI, bbox_inches="tight", pad_inches=0.03)


def around_body(volume: Volume) -> Volume:
    """Crop a volume to the bounding box of the body with a margin."""
    body = body_mask(volume).voxels
    found = [np.flatnonzero(body.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    low = [max(0, int(indices[0]) - MARGIN) for indices in found]
    high = [
        min(side, int(indices[-1]) + 1 + MARGIN)
        for indices, side in zip(found, body.shape, strict=True)
    ]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Volume(volume.voxels[box], volume.grid.crop(low, high))


if __name__ == "__main__":
    typer.run(draw)
