"""Page that shows one CT with its latent and its reconstruction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.metric_rows import check_same_grid
from ct_vae.evaluation.pictures.panels import middle_of
from ct_vae.evaluation.report.case import ReportCase
from ct_vae.evaluation.report.latent_layer import latent_layer
from ct_vae.evaluation.report.listing import facts_tables
from ct_vae.evaluation.report.pack import whole_hu
from ct_vae.evaluation.report.payload import (
    RasLayers,
    chosen_slices,
    payload_of_layers,
    ras_pair,
)
from ct_vae.evaluation.report.viewer import View, framed, source, viewer_data, viewer_section
from ct_vae.grid import Grid
from ct_vae.io.atomic.file import atomic_write
from ct_vae.latent import Latent
from ct_vae.masks import Mask, body_mask
from ct_vae.volume import Volume

# Volumes up to these limits are shown with every voxel.
_VOXELS = 60_000_000
_BYTES = 120_000_000
_SAMPLED = "The volume is too large to show every voxel, so it is sampled."
_VIEWS: tuple[View, ...] = ("original", "latent", "reconstruction", "error")


@dataclass(frozen=True, eq=False)
class ShownCase:
    """Volume, latent and reconstruction to show together.

    Attributes:
        volume: CT; ``None`` to show a latent alone.
        latent: Latent; it is drawn at the position of its grid in the CT.
        reconstruction: Reconstruction on the grid of the CT.

    Raises:
        InputError: If there is nothing to show, a reconstruction comes without its CT or has
            another grid, or latent and CT do not overlap.
    """

    volume: Volume | None = None
    latent: Latent | None = None
    reconstruction: Volume | None = None

    def __post_init__(self) -> None:
        if self.volume is None and (self.latent is None or self.reconstruction is not None):
            raise InputError("nothing to show: give a CT or a latent")
        if self.volume is not None and self.reconstruction is not None:
            check_same_grid(self.volume, self.reconstruction)
        if self.volume is not None and self.latent is not None:
            _check_overlap(self.volume.grid, self.latent.grid)

    @property
    def views(self) -> tuple[View, ...]:
        """Images to show next to each other."""
        shown = {
            "original": self.volume is not None,
            "latent": self.latent is not None,
            "reconstruction": self.reconstruction is not None,
            "error": self.reconstruction is not None,
        }
        return tuple(view for view in _VIEWS if shown[view])


def write_show_page(case: ShownCase, path: Path, *, title: str = "CT") -> None:
    """Write an HTML page with a viewer, for offline use.

    Args:
        case: Volume, latent and reconstruction.
        path: Output file.
        title: Title of the page; must not identify the patient.

    Raises:
        InputError: If a voxel is not finite.
        OutputError: If the file cannot be written.
    """
    layers, chosen, worst = _layers(case)
    description, texts = payload_of_layers(layers, chosen, room=_BYTES, voxels=_VOXELS)
    if worst is not None:
        description["worst"] = list(worst)
    if case.latent is not None:
        description["latent"], more = latent_layer(case.latent, layers.affine, len(texts))
        texts += more
    sampled = max(description["volume"]["step"]) > 1
    main = Template(source("show.html")).substitute(
        viewer=viewer_section(case.views, _SAMPLED if sampled else "", single=True),
        facts="\n".join(facts_tables(name, facts) for name, facts in _facts(case).items()),
    )
    voxels = "\n".join(
        f'<script type="text/plain" id="hu-0-{n}">{text.decode()}</script>'
        for n, text in enumerate(texts)
    )
    data = viewer_data(case.views, [{"name": title, "place": 0, **description}])
    text = framed(title, "<p>Not for diagnosis.</p>", main, data, voxels)
    with atomic_write(path) as file:
        file.write(text.encode())


def _layers(
    case: ShownCase,
) -> tuple[RasLayers, dict[tuple[str, int], list[str]], tuple[int, int, int] | None]:
    """Return the volumes in RAS order, slices to keep at full resolution, and the worst voxel."""
    if case.volume is None:
        assert case.latent is not None
        return _latent_alone(case.latent.grid), {}, None
    body = body_mask(case.volume)
    if case.reconstruction is not None:
        pair = ras_pair(ReportCase("", case.volume, case.reconstruction, [], body))
        small = pair.layers[0].size <= _VOXELS
        return pair, {} if small else chosen_slices(pair), pair.found.worst
    if not np.isfinite(case.volume.voxels).all():
        raise InputError("the volume holds values that are not finite")
    return _volume_alone(case.volume, body), {}, None


def _volume_alone(volume: Volume, body: Mask) -> RasLayers:
    grid = volume.grid.reorient("RAS")
    ordered = volume.grid.reorient_array(volume.voxels, "RAS")
    middle = middle_of(volume, body)
    return RasLayers((whole_hu(ordered),), middle, grid.shape, grid.spacing_mm, grid.affine)


def _latent_alone(grid: Grid) -> RasLayers:
    ras = grid.reorient("RAS")
    x, y, z = (n // 2 for n in ras.shape)
    return RasLayers((), (x, y, z), ras.shape, ras.spacing_mm, ras.affine)


def _check_overlap(volume: Grid, latent: Grid) -> None:
    ends = np.asarray(volume.shape) - 0.5
    corners = volume.to_index(latent.corners_mm())
    if (corners.max(axis=0) < -0.5).any() or (corners.min(axis=0) > ends).any():
        raise InputError(
            "latent and CT do not overlap in space",
            "give the latent of this CT, or show them apart",
        )


def _facts(case: ShownCase) -> dict[str, dict[str, Any]]:
    facts = {}
    if case.volume is not None:
        facts["CT"] = _volume_facts(case.volume)
    if case.latent is not None:
        facts["Latent"] = _latent_facts(case.latent, case.volume)
    if case.reconstruction is not None:
        facts["Reconstruction"] = _volume_facts(case.reconstruction)
    return facts


def _volume_facts(volume: Volume) -> dict[str, Any]:
    return {
        **_grid_facts(volume.grid),
        "HU": [float(volume.voxels.min()), float(volume.voxels.max())],
        "format": volume.source.get("format"),
        "warnings": list(volume.warnings),
    }


def _latent_facts(latent: Latent, volume: Volume | None) -> dict[str, Any]:
    record = latent.record
    facts = {
        **_grid_facts(latent.grid),
        "content": record.kind,
        "channels": 1 if record.kind == "codes" else len(latent.array),
        "voxels of the CT per voxel": list(record.factor),
        "model": record.model.name,
        "warnings": list(record.warnings),
    }
    if volume is not None:
        source_grid = record.source.grid.grid()
        same = source_grid.shape == volume.grid.shape and math.isclose(
            source_grid.distance_mm(volume.grid), 0, abs_tol=1e-2
        )
        facts["grid of its source"] = "that of this CT" if same else "another one than this CT"
    return facts


def _grid_facts(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "spacing mm": list(grid.spacing_mm), "axes": grid.axcodes}
