"""Random changes of a training patch: flips, small rotations, spacing jitter and noise, in HU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch.nn import functional

from ct_vae.config.data import AugmentConfig

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Cut = Callable[[IntArray, IntArray], NDArray[np.int16]]
Steps = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class DrawnPatch:
    """Part of a volume and the augmentation that turns it into a patch, on any device.

    Attributes:
        box: ``(X, Y, Z)`` HU, int16: the patch, or the part that it is sampled from.
        steps: Sampling positions as `grid_sample` counts them, ``(n, 3)`` for each axis of the
            patch; position (i, j, k) is the sum of rows i, j and k, minus 1. ``None`` if ``box`` is
            the patch.
        flips: Axes along which the patch is flipped.
        sigma: Standard deviation of the noise in HU, which is not included.
    """

    box: torch.Tensor
    steps: Steps | None
    flips: tuple[int, ...]
    sigma: float

    def patch(self) -> torch.Tensor:
        """Return the patch without noise: float32 if it is sampled, else int16."""
        patch = self.box if self.steps is None else _sampled(self.box, self.steps)
        return patch.flip(self.flips) if self.flips else patch


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of patches.

    Rotation and zoom are one trilinear resampling of the source volume about the center of the
    patch, so that its borders show anatomy, and air only outside the volume. HU values are neither
    scaled nor shifted.

    Args:
        config: Probabilities and largest values.
        flat: True if patches are axial slices, which are rotated and zoomed within their plane.
    """

    config: AugmentConfig
    flat: bool = False

    @property
    def makes_floats(self) -> bool:
        """True if patches are float32, as some are interpolated or noisy; otherwise int16."""
        return self._resamples or self.config.noise_hu > 0

    @property
    def _resamples(self) -> bool:
        config = self.config
        return config.resample_share > 0 and (config.rotate_degrees > 0 or config.zoom > 0)

    def __call__(
        self,
        cut: Cut,
        corner: IntArray,
        sides: IntArray,
        spacing_mm: Sequence[float],
        rng: np.random.Generator,
    ) -> torch.Tensor:
        """Cut a patch and augment it.

        Args:
            cut: Returns the box of the source with a corner and size.
            corner: ``(3,)`` lowest corner of the patch in voxels of the source; may be outside.
            sides: ``(3,)`` size of the patch in voxels.
            spacing_mm: Voxel spacing of the source.
            rng: Source of all random numbers.

        Returns:
            Patch of shape ``sides`` in HU, float32 if `makes_floats`, else int16.
        """
        drawn = self.draw(cut, corner, sides, spacing_mm, rng)
        patch = drawn.patch()
        if self.makes_floats:
            patch = patch.to(torch.float32)
        if self.config.noise_hu > 0:
            noise = rng.standard_normal(tuple(sides), dtype=np.float32)
            patch = patch + torch.from_numpy(noise) * drawn.sigma
        return patch

    def draw(
        self,
        cut: Cut,
        corner: IntArray,
        sides: IntArray,
        spacing_mm: Sequence[float],
        rng: np.random.Generator,
    ) -> DrawnPatch:
        """Cut what a patch is sampled from and draw its augmentation, without applying it.

        Arguments and random numbers are those of a call, which draws the noise after them.
        """
        matrix = self._matrix(spacing_mm, rng) if self._resamples else None
        if matrix is None:
            box, steps = torch.from_numpy(cut(corner, sides)), None
        else:
            box, steps = source_box(cut, corner, sides, matrix)
        flips = tuple(axis for axis, share in enumerate(self.config.flip) if rng.random() < share)
        sigma = rng.uniform(0, self.config.noise_hu) if self.config.noise_hu > 0 else 0.0
        return DrawnPatch(box, steps, flips, sigma)

    def _matrix(self, spacing_mm: Sequence[float], rng: np.random.Generator) -> FloatArray | None:
        """Draw the matrix from patch to source voxels, or ``None`` for no resampling.

        All numbers are drawn in any case, so that flips and noise do not depend on the result.
        """
        chosen = rng.random() < self.config.resample_share
        degrees = rng.uniform(-1, 1, 3) * self.config.rotate_degrees
        apart = self.config.zoom_axes == "apart"
        scales = np.exp(rng.uniform(-1, 1, 3 if apart else 1) * np.log1p(self.config.zoom))
        scales = scales * np.ones(3)
        if not chosen:
            return None
        if self.flat:
            degrees[:2] = 0
            scales[2] = 1.0
        turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        # The rotation is in mm; in anisotropic voxels it would shear the anatomy.
        spacing = np.asarray(spacing_mm)
        matrix: FloatArray = (turn * spacing * scales) / spacing[:, None]
        return matrix


def resampled(cut: Cut, corner: IntArray, sides: IntArray, matrix: FloatArray) -> torch.Tensor:
    """Sample a patch that is rotated and zoomed about its center, with trilinear interpolation.

    Arguments are those of `source_box`.

    Returns:
        Patch of shape ``sides``, float32.
    """
    return _sampled(*source_box(cut, corner, sides, matrix))


def source_box(
    cut: Cut, corner: IntArray, sides: IntArray, matrix: FloatArray
) -> tuple[torch.Tensor, Steps]:
    """Cut the box from which a patch is sampled that is rotated and zoomed about its center.

    Args:
        cut: Returns a box of the source, with air outside.
        corner: ``(3,)`` lowest corner of the patch before the rotation.
        sides: ``(3,)`` size of the patch.
        matrix: ``(3, 3)`` map from offsets in the patch to offsets in the source, in voxels.

    Returns:
        The box, int16, and the sampling positions in it, see `DrawnPatch`.
    """
    half = (sides - 1) / 2
    reach = np.abs(matrix) @ half
    low = np.floor(corner + half - reach).astype(np.int64)
    high = np.ceil(corner + half + reach).astype(np.int64) + 1
    box = torch.from_numpy(cut(low, high - low))
    return box, _sampling_steps(matrix, corner + half - low, sides, np.asarray(box.shape))


def _sampling_steps(
    matrix: FloatArray, center: FloatArray, sides: IntArray, shape: IntArray
) -> Steps:
    """Return the sampling positions of a patch, see `DrawnPatch`."""
    steps = [np.outer(np.arange(n) - (n - 1) / 2, matrix[:, i]) for i, n in enumerate(sides)]
    steps[0] += center + 0.5
    x, y, z = (torch.from_numpy((2 / shape * each)[:, ::-1].astype(np.float32)) for each in steps)
    return x, y, z


def _sampled(box: torch.Tensor, steps: Steps) -> torch.Tensor:
    """Sample a patch with trilinear interpolation."""
    # The sum of three vectors is ten times as fast as a matrix product in torch.
    x, y, z = steps
    grid = (x - 1)[:, None, None] + y[None, :, None] + z[None, None]
    found = functional.grid_sample(
        box[None, None].to(torch.float32), grid[None], padding_mode="border", align_corners=False
    )
    return found[0, 0]
