"""Draw the picture of exact streaming: how far tiles and slabs are from the whole volume.

Usage: python scripts/streaming_picture.py VOLUME -o docs/images/exact_streaming.png

The volume is encoded and decoded as a whole, in blended tiles and in slabs. The committed picture
shows a volume of Colorectal-Liver-Metastases (Simpson et al. 2023, TCIA, doi:10.7937/QXK2-QG03),
CC BY 4.0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import ct_vae
from ct_vae.inference.tiling import Tiling
from ct_vae.io import read_volume
from ct_vae.slice_images import draw_slice, slice_images

WINDOW_HU = (-160.0, 240.0)
# Ends of the logarithmic scale of differences, in HU.
RANGE_HU = (1e-4, 1e1)
INCHES, EXTRA_INCHES, DPI = 3.0, 1.2, 100


def draw(
    path: Annotated[Path, typer.Argument(metavar="VOLUME")],
    output: Annotated[Path, typer.Option("--output", "-o")],
    model: str = "ct-f4",
    tile: int = 64,
) -> None:
    """Write the picture of the axial slice through the center of a volume."""
    codec = ct_vae.load_codec(model, tiling=Tiling("blend", tile=tile, overlap=0.25))
    volume = read_volume(path)
    whole = codec.reconstruct(volume, "whole").voxels
    panels = [("whole volume", slice_images(whole, volume.grid)[0])]
    for title, method in ((f"tiles of {tile} voxels, blended", "blend"), ("slabs", "exact")):
        difference = np.abs(codec.reconstruct(volume, method).voxels - whole)
        image = slice_images(difference, volume.grid)[0]
        print(f"{title}: at most {difference.max():.2g} HU from the whole volume")
        panels.append((f"difference of {title}", image))
    rows, columns = panels[0][1].pixels.shape
    tall = INCHES * panels[0][1].aspect * rows / columns + EXTRA_INCHES
    figure = Figure((INCHES * len(panels), tall), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for number, (axis, (title, image)) in enumerate(zip(axes, panels, strict=True)):
        axis.set_title(title, fontsize=10)
        if not number:
            draw_slice(axis, image, "gray", WINDOW_HU)
            continue
        # Zero has no logarithm.
        floor = replace(image, pixels=np.maximum(image.pixels, RANGE_HU[0]))
        drawn = draw_slice(axis, floor, "inferno", RANGE_HU)
        drawn.set_norm(LogNorm(*RANGE_HU))
    bar = figure.colorbar(drawn, ax=list(axes[1:]), location="bottom", shrink=0.6, extend="max")
    bar.set_label("HU")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=DPI, bbox_inches="tight", pad_inches=0.03)


if __name__ == "__main__":
    typer.run(draw)
