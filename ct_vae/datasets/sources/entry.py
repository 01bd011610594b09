"""Entries of datalists and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions

Side = Literal["train", "val", "test"]
Problem = Callable[[CtVaeError], None]
Note = Callable[[str], None]


@dataclass(frozen=True)
class Listed:
    """One entry of a datalist or table.

    Attributes:
        where: Position in the list, for messages.
        side: Part of the split.
        text: Path as written in the list.
        folder: Folder to which the path is relative.
        patient: Patient, if given.
        options: Options of reading.
        weight: Sampling frequency relative to the other training cases.
        fold: Number of the fold, if given.
    """

    where: str
    side: Side
    text: str
    folder: Path
    patient: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    weight: float = 1.0
    fold: int | None = None

    @property
    def path(self) -> Path:
        """Path of the volume."""
        return self.folder / self.text
