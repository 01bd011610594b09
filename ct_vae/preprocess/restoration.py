"""Restoration of model output to HU on the source grid, slab by slab."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.latent import PreprocessRecord
from ct_vae.preprocess.hu_scale import HounsfieldScale
from ct_vae.volume import Volume

# MONAI computes the same affine with other rounding errors.
_TOLERANCE_MM = 1e-3
_INT16 = np.iinfo(np.int16)


class Restoration:
    """Volume in HU on the source grid that is assembled from slabs of model output.

    Unless the source was resampled, every slab goes to its final place at once, so that the volume
    is in memory a single time.

    Args:
        record: Preprocessing steps from the source to the model input.
        source: Grid of the source.
        whole_hu: If true, voxels are int16, rounded half to even as in files; defaults to float32.

    Raises:
        InputError: If the grids of the record are inconsistent.
    """

    def __init__(self, record: PreprocessRecord, source: Grid, whole_hu: bool = False) -> None:
        self._record, self._source, self._whole = record, source, whole_hu
        self._scale = HounsfieldScale(record.window_hu, record.model_range)
        self._oriented, self._aligned = record.oriented.grid(), source.reorient(record.axcodes)
        self.shape = self._oriented.pad(record.pad_low, record.pad_high).shape
        distance = 0.0 if record.resampled else self._aligned.distance_mm(self._oriented)
        if distance > _TOLERANCE_MM:
            raise InputError(
                f"the record's grids are {distance:.3g} mm apart",
                "the record is damaged; encode the source again",
            )
        dtype = np.int16 if whole_hu and not record.resampled else np.float32
        grid = self._oriented if record.resampled else source
        self._voxels = np.empty(grid.shape, dtype=dtype)
        self._range: tuple[torch.Tensor, torch.Tensor] | None = None
        # A view of the same memory in the orientation of the model.
        self._view = (
            self._voxels
            if record.resampled
            else source.reorient_array(self._voxels, record.axcodes)
        )

    def write(self, start: int, units: torch.Tensor) -> None:
        """Add slices of the padded model output.

        Args:
            start: Position of the first slice.
            units: Slices ``(n, Y, Z)`` in model units, on any device.

        Raises:
            InputError: If the slices have another size.
        """
        if tuple(units.shape[1:]) != self.shape[1:]:
            raise InputError(
                f"the decoded volume has slices of {tuple(units.shape[1:])}, not {self.shape[1:]}"
            )
        low, sides = self._record.pad_low, self._oriented.shape
        first = max(start, low[0])
        stop = min(start + len(units), low[0] + sides[0])
        if first >= stop:
            return
        inner = units[
            first - start : stop - start, low[1] : low[1] + sides[1], low[2] : low[2] + sides[2]
        ]
        hu = self._scale.to_hu(inner.float())
        if self._view.dtype == np.int16:
            hu = self._whole_hu(hu)
        self._view[first - low[0] : stop - low[0]] = hu.cpu().numpy()

    def volume(self) -> Volume:
        """Return the volume once all slices are added.

        Raises:
            InputError: If the volume is int16 and a voxel is not finite or beyond int16.
        """
        voxels = cast("np.ndarray", self._voxels)
        if self._record.resampled:
            moved = _resample(torch.from_numpy(voxels), self._oriented, self._aligned)
            moved = self._whole_hu(moved) if self._whole else moved.float()
            voxels = self._source.restore_array(moved.numpy(), self._record.axcodes)
        self._check_range()
        return Volume(np.ascontiguousarray(voxels), self._source, derived=True)

    def _whole_hu(self, hu: torch.Tensor) -> torch.Tensor:
        """Round to whole HU; the range is checked at the end, as a GPU should not wait for it."""
        here = torch.aminmax(hu)
        low, high = self._range or here
        self._range = torch.minimum(low, here[0]), torch.maximum(high, here[1])
        return hu.round().to(torch.int16)

    def _check_range(self) -> None:
        if self._range is None:
            return
        low, high = (float(end) for end in self._range)
        # The comparison is also false for NaN.
        if not (_INT16.min <= low and high <= _INT16.max):
            raise InputError(
                f"voxels from {low:g} to {high:g} HU cannot be stored as int16",
                "check that the model is trained, and on HU",
            )

    @property
    def unallocated_bytes(self) -> int:
        """Memory in bytes that the volume will still take: untouched voxels, and resampling."""
        return (4 if self._record.resampled else 1) * self._voxels.nbytes


def restore(units: torch.Tensor, record: PreprocessRecord, source: Grid) -> Volume:
    """Convert model output back to HU on the source grid.

    Args:
        units: Model output ``(X, Y, Z)`` in model units on the padded grid of ``record``.
        record: Preprocessing steps from the source to the model input.
        source: Grid of the source.

    Returns:
        Volume in float32 HU on ``source``; positions are exact if nothing was resampled.

    Raises:
        InputError: If shapes or positions are inconsistent.
    """
    restoration = Restoration(record, source)
    if tuple(units.shape) != restoration.shape:
        raise InputError(
            f"the decoded volume has shape {tuple(units.shape)}, not {restoration.shape}"
        )
    restoration.write(0, units)
    return restoration.volume()


def _resample(hu: torch.Tensor, here: Grid, there: Grid) -> torch.Tensor:
    # Importing MONAI takes seconds, and most models keep the spacing of the source.
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    move = SpatialResample(mode="bilinear", padding_mode="border")
    image = MetaTensor(hu[None], affine=torch.tensor(here.affine))
    moved = move(image, dst_affine=there.affine, spatial_size=there.shape)
    return cast(torch.Tensor, moved.as_tensor()[0])
