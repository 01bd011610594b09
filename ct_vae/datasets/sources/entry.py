"""What a datalist or a table says about one volume, before anything of it is looked at."""

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
    """One entry.

    Attributes:
        where: Its place in the list, for messages.
        side: To which part of the split it belongs.
        text: The path as it is written.
        folder: What a relative path is relative to.
        patient: Whose volume it is, if the list says so.
        options: How it is read.
        weight: How often patches are taken from it, relative to the other training cases.
        fold: Number of the fold that it belongs to, if the list says so.
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
        """Where the volume is."""
        return self.folder / self.text
