"""Section ``data``: which volumes a run trains on and which it is validated on."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.config.base import Section

Anatomy = Literal["thorax", "abdomen", "head"]
PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class PhantomConfig(Section):
    """Generated cases, the data that come with the package."""

    train: PositiveInt = 6
    """Number of training cases, cycling through `anatomies`."""

    val: PositiveInt = 1
    """Number of validation cases; their seeds follow those of the training cases."""

    anatomies: Annotated[tuple[Anatomy, ...], Field(min_length=1)] = ("thorax", "abdomen", "head")
    """Which bodies are generated, in this order."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the first case; each case has the next one."""

    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    """Voxel spacing of the generated cases."""

    @model_validator(mode="after")
    def _check(self) -> PhantomConfig:
        if min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing_mm {self.spacing_mm} must be positive")
        return self


class AugmentConfig(Section):
    """Random changes of training patches; HU are never rescaled, and all is off by default."""

    flip: tuple[Share, Share, Share] = (0.0, 0.0, 0.0)
    """Chance of mirroring a patch along each axis, in the order of ``preprocess.axcodes``."""

    rotate_degrees: Annotated[float, Field(ge=0, le=45)] = 0.0
    """Largest rotation about each axis; about the third alone for a 2-D model."""

    zoom: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Largest relative change of the voxel spacing, finer or coarser."""

    zoom_axes: Literal["together", "apart"] = "together"
    """Whether all axes are zoomed alike, or each by a draw of its own, as other scanners and slice
    thicknesses would have it."""

    resample_share: Share = 0.3
    """Share of patches that are rotated and zoomed. Interpolation smooths noise, so that the other
    patches keep the voxels of the source."""

    noise_hu: Annotated[float, Field(ge=0)] = 0.0
    """Largest standard deviation of added Gaussian noise; each patch draws its own, from 0 up."""


class DataConfig(Section):
    """One source of cases: `datalist`, `csv`, or `train` with `val`, or else phantoms.

    Relative paths are taken from the folder in which the command runs; those inside a datalist or
    a table from its own folder.
    """

    datalist: str | None = None
    """MONAI decathlon JSON with lists ``training`` and ``validation``."""

    csv: str | None = None
    """Table with a header row: column ``image``, and perhaps ``split`` and ``patient``."""

    train: tuple[str, ...] = ()
    """Files, folders and glob patterns of training volumes."""

    val: tuple[str, ...] = ()
    """Files, folders and glob patterns of validation volumes."""

    phantoms: PhantomConfig | None = None
    """Settings of the generated cases; they are used when no other source is named."""

    patient_pattern: str | None = None
    """Regular expression that finds the patient in a path; its first group if it has one. A key
    or column ``patient`` goes before it."""

    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of patients that validate when a source names training cases alone."""

    cache_dir: str | None = None
    """Folder for decoded volumes, which workers, processes and later runs share; null keeps them
    in memory, and writes nothing."""

    small_volumes: Literal["pad", "skip", "refuse"] = "pad"
    """Training volumes smaller than a patch: fill patches up with air, leave such volumes out, or
    refuse to train."""

    augment: AugmentConfig = AugmentConfig()
    """Random changes of training patches."""

    resize_to: Literal["resolution"] | None = None
    """``resolution`` resizes every training image to ``model.resolution`` on each axis."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        named = [k for k in ("datalist", "csv", "train", "phantoms") if getattr(self, k)]
        if len(named) > 1:
            raise ValueError(f"name one source of cases, got {' and '.join(named)}")
        if self.val and not self.train:
            raise ValueError("val needs train beside it")
        if self.val and self.val_share:
            raise ValueError("val and val_share both choose validation cases, name one of them")
        if self.val_share and not set(named) & {"datalist", "csv", "train"}:
            raise ValueError("val_share splits files, and phantoms are counted by phantoms.val")
        if self.patient_pattern is not None:
            _check_pattern(self.patient_pattern)
        return self


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern {pattern!r} is no regular expression: {error}") from None
