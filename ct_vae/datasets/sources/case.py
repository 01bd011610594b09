"""Training and validation cases: volumes in files and generated volumes."""

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
    """A volume that can be loaded."""

    @property
    def key(self) -> str:
        """Name of the case, for messages."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that contain the voxels; empty for a generated volume."""
        ...

    @property
    def recipe(self) -> str:
        """Everything else that affects the voxels, as text."""
        ...

    @property
    def weight(self) -> float:
        """Sampling frequency relative to the other training cases."""
        ...

    def header_grid(self) -> Grid | None:
        """Return the grid without reading voxels, or ``None`` if that is not possible."""
        ...

    def load(self) -> Volume:
        """Read or generate the volume."""
        ...


@dataclass(frozen=True)
class FileCase:
    """A volume in a file, a DICOM series or an archive.

    Attributes:
        key: Path as written in the list of cases.
        path: Path for `ct_vae.io.read_volume`.
        series: The DICOM series, if a search has found one.
        patient: Patient from a list, a pattern or the path, for messages.
        owner: Digest of the patient, or of the patient in DICOM headers; ``""`` if unknown.
        options: Options of reading.
        split_by: Digest that identifies the patient for a split.
        weight: Sampling frequency relative to the other training cases.
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
        """The file or archive, or all files of the series or folder."""
        return source_files(self.path, self.series)

    @property
    def recipe(self) -> str:
        """Id of the series in a folder or archive, and options other than the defaults."""
        default = asdict(ReadOptions())
        changed = {k: v for k, v in asdict(self.options).items() if v != default[k]}
        return f"{split_series_path(self.path)[1]} {changed}"

    def header_grid(self) -> Grid | None:
        """Return the grid in the header, see `ct_vae.io.header_grid.header_grid`.

        Raises:
            NoInputError: If the file does not exist.
            InputError: If the header is invalid.
        """
        return header_grid(self.path, self.options, self.series)

    def load(self) -> Volume:
        """Read the volume with all checks."""
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
        """Empty, since no file is read."""
        return ()

    @property
    def recipe(self) -> str:
        """Anatomy, seed and spacing."""
        return f"phantom {self.key} {self.spacing_mm}"

    @property
    def weight(self) -> float:
        """1.0 for all generated cases."""
        return 1.0

    def header_grid(self) -> Grid:
        """Return a grid with the shape and spacing of the phantom at the origin."""
        shape = phantom_shape(self.anatomy, self.spacing_mm)
        return Grid(shape, np.diag([*self.spacing_mm, 1.0]))

    def load(self) -> Volume:
        """Generate the volume."""
        return make_phantom(self.anatomy, self.seed, self.spacing_mm)
