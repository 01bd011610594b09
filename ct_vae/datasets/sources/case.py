"""One volume of a run: where it comes from, and how it is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ct_vae.grid import Grid
from ct_vae.io import FoundSeries, ReadOptions, read_volume
from ct_vae.io.dicom.scan import split_series_path
from ct_vae.io.header_grid import header_grid
from ct_vae.io.source_files import source_files
from ct_vae.phantoms.make_phantom import make_phantom, phantom_shape
from ct_vae.volume import Volume


class TrainingCase(Protocol):
    """One volume that can be loaded."""

    @property
    def key(self) -> str:
        """Name of the case, for messages."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """The files whose bytes decide about the voxels; none if no file does."""
        ...

    @property
    def recipe(self) -> str:
        """What else decides about them."""
        ...

    @property
    def weight(self) -> float:
        """How often patches are taken from it, relative to the other training cases."""
        ...

    def header_grid(self) -> Grid | None:
        """Return the grid without reading any voxel, ``None`` where that is not possible."""
        ...

    def load(self) -> Volume:
        """Read or make the volume."""
        ...


@dataclass(frozen=True)
class FileCase:
    """A volume in a file, a DICOM series or an archive.

    Attributes:
        key: Its path as the source of cases names it.
        path: Where it is, as `ct_vae.io.read_volume` takes it.
        series: The DICOM series that it is, if it has been found as one.
        patient: Whose it is, if a list, a pattern or its name says so; for messages.
        owner: Digest of the same, or of what its DICOM headers say; ``""`` if nothing does.
        options: How it is read.
        split_by: Digest of what stands for the patient where a split has to be made.
        weight: How often patches are taken from it, relative to the other training cases.
    """

    key: str
    path: Path
    series: FoundSeries | None = field(default=None, compare=False, repr=False)
    patient: str | None = None
    owner: str = field(default="", repr=False)
    options: ReadOptions = field(default_factory=ReadOptions)
    split_by: str = field(default="", repr=False)
    weight: float = 1.0

    @property
    def files(self) -> tuple[Path, ...]:
        """The file or archive, or every file of the series or its folder."""
        return source_files(self.path, self.series)

    @property
    def recipe(self) -> str:
        """Which series of a folder or archive, and how it is read, as far as that is told."""
        default = asdict(ReadOptions())
        told = {k: v for k, v in asdict(self.options).items() if v != default[k]}
        return f"{split_series_path(self.path)[1]} {told}"

    def header_grid(self) -> Grid | None:
        """Return the grid that the header declares, see `ct_vae.io.header_grid.header_grid`.

        Raises:
            NoInputError: If the file is not there.
            InputError: If its header alone is reason to refuse it.
        """
        return header_grid(self.path, self.options, self.series)

    def load(self) -> Volume:
        """Read the volume with every check."""
        if self.series:
            return self.series.read(self.options)
        return read_volume(self.path, self.options)


@dataclass(frozen=True)
class PhantomCase:
    """A generated volume."""

    anatomy: str
    seed: int
    spacing_mm: tuple[float, float, float]

    @property
    def key(self) -> str:
        """Anatomy and seed."""
        return f"{self.anatomy}_{self.seed:04d}"

    @property
    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()

    @property
    def recipe(self) -> str:
        """Anatomy, seed and spacing."""
        return f"phantom {self.key} {self.spacing_mm}"

    @property
    def weight(self) -> float:
        """Generated cases count alike."""
        return 1.0

    def header_grid(self) -> Grid:
        """Return a grid of the phantom's shape and spacing at the origin."""
        shape = phantom_shape(self.anatomy, self.spacing_mm)
        return Grid(shape, np.diag([*self.spacing_mm, 1.0]))

    def load(self) -> Volume:
        """Generate the volume."""
        return make_phantom(self.anatomy, self.seed, self.spacing_mm)
