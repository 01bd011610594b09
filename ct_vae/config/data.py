"""Section ``data``: training and validation volumes, and augmentation."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.config.base import Section

Anatomy = Literal["thorax", "abdomen", "head"]
PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class PhantomConfig(Section):
    """Generated phantom volumes, for trying things without data."""

    train: PositiveInt = 6
    """Number of training volumes; they cycle through `anatomies`."""

    val: PositiveInt = 1
    """Number of validation volumes; their seeds follow those of the training volumes."""

    anatomies: Annotated[tuple[Anatomy, ...], Field(min_length=1)] = ("thorax", "abdomen", "head")
    """Body regions to generate, in this order."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Random seed of the first volume; every further volume uses the next seed."""

    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    """Voxel spacing of the volumes in mm, along x, y and z."""

    @model_validator(mode="after")
    def _check(self) -> PhantomConfig:
        if min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing_mm {self.spacing_mm} must be positive")
        return self


class AugmentConfig(Section):
    """Random augmentation of training patches, off by default; HU are never rescaled."""

    flip: tuple[Share, Share, Share] = (0.0, 0.0, 0.0)
    """Probability of flipping a patch along each axis, in the order of `preprocess.axcodes`."""

    rotate_degrees: Annotated[float, Field(ge=0, le=45)] = 0.0
    """Maximum rotation about each axis in degrees; 2-D models rotate about the third axis only."""

    zoom: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Maximum relative change of the voxel spacing, finer or coarser."""

    zoom_axes: Literal["together", "apart"] = "together"
    """Zoom all axes by the same factor (`together`), or each axis by its own (`apart`), which
    mimics other scanners and slice thicknesses."""

    resample_share: Share = 0.3
    """Fraction of patches that are rotated and zoomed. The other patches keep the original voxels,
    because interpolation smooths noise."""

    noise_hu: Annotated[float, Field(ge=0)] = 0.0
    """Maximum standard deviation of Gaussian noise in HU; each patch draws its own between 0 and
    this."""


class DataConfig(Section):
    """Source of the volumes: `datalist`, `csv` or `train` (with `val`); phantoms by default.

    Relative paths are resolved against the working directory; those inside a datalist or CSV file
    against its folder.
    """

    datalist: str | None = None
    """Path of a MONAI decathlon JSON file with the lists `training`, `validation` and `test` (or
    `testing`)."""

    csv: str | None = None
    """Path of a CSV file with the column `image` and the optional columns `split`, `patient` and
    `fold`."""

    train: tuple[str, ...] = ()
    """Training volumes: files, folders and glob patterns."""

    val: tuple[str, ...] = ()
    """Validation volumes: files, folders and glob patterns."""

    phantoms: PhantomConfig | None = None
    """Settings of the generated phantoms, which are used if no other source is given."""

    patient_pattern: str | None = None
    """Regular expression that extracts the patient from a path: its first group, or the whole
    match. A `patient` key or column takes precedence."""

    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of patients used for validation if the source lists training volumes only: at least
    one patient, and never all."""

    fold: int | None = None
    """Fold used for validation if the datalist or table numbers its training volumes under `fold`;
    null trains on all folds."""

    cache_dir: str | None = None
    """Folder in which preprocessed volumes are cached and shared between workers, processes and
    later runs; null caches them in memory."""

    small_volumes: Literal["pad", "skip", "refuse"] = "pad"
    """Handling of training volumes smaller than a patch: pad them with air, skip them, or stop with
    an error."""

    augment: AugmentConfig = AugmentConfig()
    """Random augmentation of training patches."""

    image_key: str | None = None
    """Key of the image in the items of a data set given in Python, such as `ct`; null takes
    `image`, or the only image of an item. Volumes that are named here need none."""

    resize_to: Literal["resolution"] | None = None
    """Resize every training image to `model.resolution` along each axis; null means no resizing."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        named = [k for k in ("datalist", "csv", "train", "phantoms") if getattr(self, k)]
        if len(named) > 1:
            nothing = "[]" if named[-1] == "train" else "null"
            raise ValueError(
                f"give one source of volumes, got {' and '.join(named)}; remove one of them, or "
                f"add --set data.{named[-1]}={nothing}"
            )
        if self.val and not self.train:
            raise ValueError("val needs train as well")
        if self.val and self.val_share:
            raise ValueError("val and val_share both choose validation volumes; give one of them")
        if self.val_share and not set(named) & {"datalist", "csv", "train"}:
            raise ValueError("val_share has no effect on phantoms; set phantoms.val")
        if self.fold is not None and not (self.datalist or self.csv):
            raise ValueError("fold selects entries of a datalist or csv; give one")
        if self.fold is not None and self.val_share:
            raise ValueError("fold and val_share both choose validation volumes; give one of them")
        if self.patient_pattern is not None:
            _check_pattern(self.patient_pattern)
        return self


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"patient_pattern {pattern!r} is not a regular expression: {error}"
        ) from None
