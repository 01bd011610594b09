"""Section ``data``: which volumes a run trains on and which it is validated on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.config.base import Section

Anatomy = Literal["thorax", "abdomen", "head"]
PositiveInt = Annotated[int, Field(gt=0)]


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


class DataConfig(Section):
    """One source of cases: `datalist`, or `train` with `val`, or else phantoms.

    Relative paths are taken from the folder in which the command runs; those inside a datalist
    from the datalist's own folder.
    """

    datalist: str | None = None
    """MONAI decathlon JSON with lists ``training`` and ``validation``."""

    train: tuple[str, ...] = ()
    """Files, folders and glob patterns of training volumes."""

    val: tuple[str, ...] = ()
    """Files, folders and glob patterns of validation volumes."""

    phantoms: PhantomConfig | None = None
    """Settings of the generated cases; they are used when no other source is named."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        named = [k for k in ("datalist", "train", "phantoms") if getattr(self, k)]
        if len(named) > 1:
            raise ValueError(f"name one source of cases, got {' and '.join(named)}")
        if self.val and not self.train:
            raise ValueError("val needs train beside it")
        return self
