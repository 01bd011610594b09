"""Voxels of one case for the viewer: a subsampled volume, and selected full slices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.pictures.panels import middle_of
from ct_vae.evaluation.report.case import ReportCase
from ct_vae.evaluation.report.pack import pack, whole_hu
from ct_vae.evaluation.report.survey import Survey, survey
from ct_vae.masks import Mask
from ct_vae.slice_images import PLANES

# Default bytes of text per case; full slices come first.
_CASE_BYTES = 14_000_000
_LEAST_VOLUME_BYTES = 4_000_000
# Browsers do not support longer texts in a page.
_FULL_BYTES = 400_000_000
_SAMPLED_VOXELS = 7_000_000
# Slice axis of each plane: z, y and x.
_NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}


@dataclass(frozen=True, eq=False)
class RasLayers:
    """Volumes of one case on one grid, in RAS order and whole HU.

    Attributes:
        layers: The original and, if there is one, its reconstruction; or nothing.
        middle: Indices of the center of the body.
        shape: Number of voxels along each axis.
        spacing_mm: Spacing along each axis.
        affine: Indices to RAS+ positions in mm.
    """

    layers: tuple[NDArray[np.int16], ...]
    middle: tuple[int, int, int]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RasPair(RasLayers):
    """An original with its reconstruction, and the errors between them."""

    found: Survey

    @property
    def original(self) -> NDArray[np.int16]:
        """Original."""
        return self.layers[0]

    @property
    def result(self) -> NDArray[np.int16]:
        """Reconstruction."""
        return self.layers[1]


def ras_pair(case: ReportCase) -> RasPair:
    """Reorient a case and find its largest errors.

    Raises:
        InputError: If a value is not finite.
    """
    grid = case.original.grid
    body = case.body or Mask("volume", np.ones(grid.shape, np.bool_))
    ras = grid.reorient("RAS")
    original, result, inside = (
        grid.reorient_array(a, "RAS")
        for a in (case.original.voxels, case.reconstruction.voxels, body.voxels)
    )
    found = survey(original, result, inside.astype(np.bool_, copy=False))
    middle = middle_of(case.original, body)
    layers = (whole_hu(original), whole_hu(result))
    return RasPair(layers, middle, ras.shape, ras.spacing_mm, ras.affine, found)


def payload_of(pair: RasPair, *, full: bool) -> tuple[dict[str, Any], list[bytes]]:
    """Return the description of a case for the viewer, and its packed voxels.

    Args:
        pair: Original and reconstruction.
        full: True for all voxels, as far as browsers support it, instead of a subsampled volume
            with selected full slices.

    Returns:
        Those of `payload_of_layers`, with the indices of the largest error as ``worst``.
    """
    description, texts = payload_of_layers(
        pair,
        {} if full else chosen_slices(pair),
        room=_FULL_BYTES if full else _CASE_BYTES,
        voxels=math.prod(pair.shape) if full else _SAMPLED_VOXELS,
    )
    return description | {"worst": list(pair.found.worst)}, texts


def payload_of_layers(
    case: RasLayers,
    chosen: Mapping[tuple[str, int], list[str]],
    *,
    room: int = _FULL_BYTES,
    voxels: int,
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the description of volumes for the viewer, and their packed voxels.

    Args:
        case: Volumes on one grid.
        chosen: Slices to show at full resolution, by plane and index, with the reasons.
        room: Bytes of text for all of them.
        voxels: Most voxels of a volume, which is subsampled if it has more.

    Returns:
        Description for JSON, and packed voxels, to which it refers by index. ``layers`` is the
        number of volumes; each text is followed by those of the other volumes. ``volume`` has the
        ``step`` per axis and the ``offset`` of its first voxel; ``slices`` have their plane, index
        and the reasons for their selection.
    """
    texts: list[bytes] = []
    slices = _slices(case, chosen, texts)
    left = max(room - sum(map(len, texts)), _LEAST_VOLUME_BYTES if texts else 0)
    step, packed = _sampled(case, left, voxels)
    description = {
        "shape": list(case.shape),
        "spacing": list(case.spacing_mm),
        "affine": case.affine[:3].tolist(),
        "middle": list(case.middle),
        "layers": len(case.layers),
        "volume": {"step": step, "offset": [(s - 1) // 2 for s in step], "text": len(texts)},
        "slices": slices,
    }
    return description, [*texts, *packed]


def chosen_slices(pair: RasPair) -> dict[tuple[str, int], list[str]]:
    """Select the slices to show at full resolution, by plane and index, with the reasons."""
    chosen: dict[tuple[str, int], list[str]] = {}
    for plane in PLANES:
        axis = _NORMAL[plane]
        for index, why in (
            (pair.middle[axis], "centre"),
            (pair.found.worst[axis], "largest error"),
            (int(pair.found.plane_rmse[axis].argmax()), "largest RMSE of a slice"),
        ):
            chosen.setdefault((plane, index), []).append(why)
    return chosen


def _slices(
    case: RasLayers, chosen: Mapping[tuple[str, int], list[str]], texts: list[bytes]
) -> list[dict[str, Any]]:
    slices = []
    for (plane, index), why in chosen.items():
        slices.append({"plane": plane, "index": index, "why": why, "text": len(texts)})
        texts += [pack(_slice(layer, plane, index)) for layer in case.layers]
    return slices


def _slice(voxels: NDArray[np.int16], plane: str, index: int) -> NDArray[np.int16]:
    cut: NDArray[np.int16] = np.moveaxis(voxels, _NORMAL[plane], 0)[index].T
    return cut


def _sampled(case: RasLayers, room: int, voxels: int) -> tuple[list[int], list[bytes]]:
    """Return the finest subsampling that fits."""
    for step in _steps(case.shape, case.spacing_mm):
        if math.prod(-(-n // s) for n, s in zip(case.shape, step, strict=True)) > voxels:
            continue
        packed = [pack(sample(layer, step)) for layer in case.layers]
        if sum(map(len, packed)) <= room:
            break
    return step, packed


def sample(voxels: NDArray[np.int16], step: list[int]) -> NDArray[np.int16]:
    """Subsample a volume by the center voxel of each block; x is the fastest axis of the result.

    Voxels are not averaged, so values are original values and errors keep their size.
    """
    i, j, k = ((s - 1) // 2 for s in step)
    taken: NDArray[np.int16] = voxels[i :: step[0], j :: step[1], k :: step[2]].T
    return taken


def _steps(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> Iterator[list[int]]:
    """Yield increasingly coarse steps; the axis with the smallest spacing is coarsened first."""
    step = [1, 1, 1]
    for _ in itertools.count():
        yield list(step)
        if all(s >= n for s, n in zip(step, shape, strict=True)):
            return
        sampled = [
            s * mm if s < n else np.inf for s, n, mm in zip(step, shape, spacing_mm, strict=True)
        ]
        finest = min(sampled)
        step = [s + 1 if mm <= 1.01 * finest else s for s, mm in zip(step, sampled, strict=True)]
