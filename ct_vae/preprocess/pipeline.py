"""Preprocessing of volumes to model input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.grid import Grid
from ct_vae.latent import GridRecord, PreprocessRecord
from ct_vae.preprocess.hu_scale import HounsfieldScale, Interval
from ct_vae.volume import Volume

if TYPE_CHECKING:
    from monai.data import MetaTensor


@dataclass(frozen=True, eq=False)
class ModelInput:
    """Preprocessed volume.

    Attributes:
        tensor: Model input ``(1, 1, X, Y, Z)`` in float32 and model units; sizes are multiples of
            the factor.
        record: Preprocessing steps, which `Restoration` inverts.
    """

    tensor: torch.Tensor
    record: PreprocessRecord


class Preprocessor:
    """Preprocessing: orientation, optional resampling, scaling to model units and padding.

    Args:
        axcodes: Anatomical directions of the model's index axes; defaults to ``RAS``.
        spacing_mm: Spacing for trilinear resampling in mm, in the order of ``axcodes``; ``None``
            (the default) keeps the source's spacing, which alone makes the way back exact.
        window_hu: HU at the ends of ``model_range``.
        model_range: Model units at the ends of ``window_hu``.
    """

    def __init__(
        self,
        axcodes: str = "RAS",
        spacing_mm: tuple[float, float, float] | None = None,
        window_hu: Interval = (-1000.0, 1000.0),
        model_range: Interval = (-1.0, 1.0),
    ) -> None:
        self.axcodes = axcodes
        self.spacing_mm = spacing_mm
        self.scale = HounsfieldScale(window_hu, model_range)

    def orient(self, volume: Volume) -> Volume:
        """Reorient a volume and, if a spacing is set, resample it; values stay in HU."""
        grid = volume.grid.reorient(self.axcodes)
        voxels = _contiguous(volume.grid.reorient_array(volume.voxels, self.axcodes))
        if self.spacing_mm is not None:
            voxels, grid = _respaced(voxels, grid, self.spacing_mm)
        return Volume(voxels, grid, source=volume.source, warnings=volume.warnings)

    def __call__(self, volume: Volume, factor: Sequence[int]) -> ModelInput:
        """Prepare a volume for a model.

        Args:
            volume: Volume in HU.
            factor: Voxels per latent voxel along each axis.
        """
        oriented = self.orient(volume)
        hu = torch.from_numpy(oriented.voxels)[None]
        below, above = self.scale.outside(hu)
        units = self.scale.to_model(hu)
        # Repeat the border: air would add an artificial edge to a body that is cut off.
        pad_high = [-side % f for side, f in zip(oriented.grid.shape, factor, strict=True)]
        widths = [width for high in reversed(pad_high) for width in (0, high)]
        padded = functional.pad(units[None], widths, mode="replicate")
        record = PreprocessRecord(
            axcodes=self.axcodes,
            resampled=self.spacing_mm is not None,
            oriented=GridRecord.of(oriented.grid),
            window_hu=self.scale.window_hu,
            model_range=self.scale.model_range,
            clipped_below=below,
            clipped_above=above,
            outside_fov=_fraction(volume.outside_fov),
            pad_low=(0, 0, 0),
            pad_high=(pad_high[0], pad_high[1], pad_high[2]),
        )
        return ModelInput(padded, record)


def _contiguous(array: np.ndarray) -> np.ndarray:
    """Return an array in C order with positive strides, the only ones that torch supports."""
    # Flipping an axis of one voxel leaves a negative stride, but the array counts as contiguous.
    return array.copy() if min(array.strides) < 0 else np.ascontiguousarray(array)


def _respaced(
    voxels: np.ndarray, grid: Grid, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, Grid]:
    """Resample voxels to a spacing; returns them in float32 with their grid."""
    # Importing MONAI takes seconds, and most models keep the spacing of the source.
    from monai.transforms import Spacing

    resample = Spacing(spacing_mm, mode="bilinear", padding_mode="border")
    moved = resample(_meta_tensor(voxels.astype(np.float32, copy=False), grid))
    there = Grid(tuple(moved.shape[1:]), np.asarray(moved.affine, dtype=np.float64))
    return moved.as_tensor()[0].numpy(), there


def _meta_tensor(voxels: np.ndarray, grid: Grid) -> MetaTensor:
    from monai.data import MetaTensor

    return MetaTensor(torch.from_numpy(voxels)[None], affine=torch.tensor(grid.affine))


def _fraction(mask: np.ndarray | None) -> float:
    return 0.0 if mask is None else float(np.count_nonzero(mask) / mask.size)


def build_preprocessor(config: PreprocessConfig) -> Preprocessor:
    """Build the preprocessor of a configuration."""
    return Preprocessor(config.axcodes, config.spacing_mm, config.window_hu, config.model_range)
