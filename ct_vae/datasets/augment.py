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


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a patch; the generator that is handed in decides what does.

    Rotation and zoom are one resampling about the patch's centre, trilinear, on the source itself:
    what they bring into the patch is anatomy, and air only where the source ends. HU keep their
    meaning, since nothing scales or shifts them.

    Args:
        config: Shares and largest values.
        flat: Whether patches are axial slices, which stay in their plane.
    """

    config: AugmentConfig
    flat: bool = False

    @property
    def makes_floats(self) -> bool:
        """Whether patches are float32, because some are interpolated or noisy; else int16."""
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
        """Cut a patch and change it.

        Args:
            cut: Gives the box of the source that has a lowest corner and sides.
            corner: ``(3,)`` of the patch, in voxels of the source; may lie outside.
            sides: ``(3,)`` of the patch.
            spacing_mm: Of the source.
            rng: Every draw comes from it.

        Returns:
            ``sides`` in HU, float32 if `makes_floats`, else int16.
        """
        matrix = self._matrix(spacing_mm, rng) if self._resamples else None
        if matrix is None:
            patch = torch.from_numpy(cut(corner, sides))
        else:
            patch = resampled(cut, corner, sides, matrix)
        if self.makes_floats:
            patch = patch.to(torch.float32)
        axes = [axis for axis, share in enumerate(self.config.flip) if rng.random() < share]
        patch = patch.flip(axes) if axes else patch
        if self.config.noise_hu > 0:
            sigma = rng.uniform(0, self.config.noise_hu)
            noise = rng.standard_normal(tuple(sides), dtype=np.float32)
            patch = patch + torch.from_numpy(noise) * sigma
        return patch

    def _matrix(self, spacing_mm: Sequence[float], rng: np.random.Generator) -> FloatArray | None:
        """From voxels of the patch to voxels of the source, or ``None`` to keep its voxels.

        Every draw is made either way, so that flips and noise do not depend on this one.
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
        # The turn is one in millimetres; in voxels of unequal sides it would shear the anatomy.
        spacing = np.asarray(spacing_mm)
        matrix: FloatArray = (turn * spacing * scales) / spacing[:, None]
        return matrix


def resampled(cut: Cut, corner: IntArray, sides: IntArray, matrix: FloatArray) -> torch.Tensor:
    """Trilinear samples of a source on a patch that is turned and zoomed about its centre.

    Args:
        cut: Gives a box of the source, with air outside.
        corner: ``(3,)`` of the patch before it is turned.
        sides: ``(3,)`` of the patch.
        matrix: ``(3, 3)`` from steps in the patch to steps in the source, in voxels.

    Returns:
        ``sides`` float32.
    """
    half = (sides - 1) / 2
    reach = np.abs(matrix) @ half
    low = np.floor(corner + half - reach).astype(np.int64)
    high = np.ceil(corner + half + reach).astype(np.int64) + 1
    box = torch.from_numpy(cut(low, high - low)).to(torch.float32)
    grid = _sampling_grid(matrix, corner + half - low, sides, np.asarray(box.shape))
    found = functional.grid_sample(
        box[None, None], grid[None], padding_mode="border", align_corners=False
    )
    return found[0, 0]


def _sampling_grid(
    matrix: FloatArray, centre: FloatArray, sides: IntArray, shape: IntArray
) -> torch.Tensor:
    """Where to sample, ``(*sides, 3)`` as torch counts: -1 to 1 between faces, last axis first."""
    # Adding three vectors is ten times as fast as torch's own product of matrices.
    steps = [np.outer(np.arange(n) - (n - 1) / 2, matrix[:, i]) for i, n in enumerate(sides)]
    steps[0] += centre + 0.5
    x, y, z = (torch.from_numpy((2 / shape * each)[:, ::-1].astype(np.float32)) for each in steps)
    return (x - 1)[:, None, None] + y[None, :, None] + z[None, None]
