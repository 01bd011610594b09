"""Preprocessing of volumes to model input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import DivisiblePad, Orientation, Spacing

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.grid import Grid
from ct_vae.latent import GridRecord, PreprocessRecord
from ct_vae.preprocess.hu_scale import HounsfieldScale, Interval
from ct_vae.volume import Volume


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
        # MONAI reorders voxels by the same nibabel orientations as Grid.reorient.
        self._orient = Orientation(
            axcodes=axcodes, labels=(("L", "R"), ("P", "A"), ("I", "S")), lazy=False
        )

    def orient(self, volume: Volume) -> Volume:
        """Reorient a volume and, if a spacing is set, resample it; values stay in HU."""
        moved = self._orient(_meta_tensor(volume.voxels, volume.grid))
        grid = volume.grid.reorient(self.axcodes)
        if self.spacing_mm is not None:
            resample = Spacing(self.spacing_mm, mode="bilinear", padding_mode="border")
            moved = resample(moved.to(torch.float32))
            grid = Grid(tuple(moved.shape[1:]), np.asarray(moved.affine, dtype=np.float64))
        voxels = moved.as_tensor()[0].numpy()
        return Volume(voxels, grid, source=volume.source, warnings=volume.warnings)

    def __call__(self, volume: Volume, factor: Sequence[int]) -> ModelInput:
        """Prepare a volume for a model.

        Args:
            volume: Volume in HU.
            factor: Voxels per latent voxel along each axis.
        """
        oriented = self.orient(volume)
        hu = torch.from_numpy(np.ascontiguousarray(oriented.voxels))[None]
        below, above = self.scale.outside(hu)
        units = self.scale.to_model(hu)
        # Repeat the border: air would add an artificial edge to a body that is cut off.
        padded = DivisiblePad(tuple(factor), mode="edge", method="end")(units)
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
            pad_high=_difference(padded.shape[1:], oriented.grid.shape),
        )
        return ModelInput(_plain(padded)[None], record)


def _meta_tensor(voxels: np.ndarray, grid: Grid) -> MetaTensor:
    # torch does not support arrays with negative strides, such as flipped volumes.
    plain = torch.from_numpy(np.ascontiguousarray(voxels))
    return MetaTensor(plain[None], affine=torch.tensor(grid.affine))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def _fraction(mask: np.ndarray | None) -> float:
    return 0.0 if mask is None else float(np.count_nonzero(mask) / mask.size)


def _difference(a: Sequence[int], b: Sequence[int]) -> tuple[int, int, int]:
    return int(a[0]) - int(b[0]), int(a[1]) - int(b[1]), int(a[2]) - int(b[2])


def build_preprocessor(config: PreprocessConfig) -> Preprocessor:
    """Build the preprocessor of a configuration."""
    return Preprocessor(config.axcodes, config.spacing_mm, config.window_hu, config.model_range)
