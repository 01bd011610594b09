"""Images that make up one volume, or that cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ct_vae.errors import InputError
from ct_vae.io.dicom.image_header import ImageHeader

MIN_SLICES = 4


@dataclass(frozen=True)
class Group:
    """Images that make up one volume, or that cannot.

    Attributes:
        images: Their headers.
        skip: Why they are no CT volume at all; empty if they are meant to be one.
        problem: Why they are refused whatever is consented to.
        notes: What was settled, one line each.
        apart: Names of the marks that tell it from other volumes of its series.
        aside: Whether a refused group takes only places that a whole volume has taken, so that it
            is not missed there.
        repeats: Images that are the same as some of these, and are left out.
    """

    images: Sequence[ImageHeader]
    skip: str = ""
    problem: InputError | None = None
    notes: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    aside: bool = False
    repeats: Sequence[ImageHeader] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the volume is told."""
        if not self.apart:
            return self.notes
        names = " and ".join(dict.fromkeys(self.apart))
        return *self.notes, f"one of several volumes of its series, told apart by {names}"

    @property
    def short(self) -> bool:
        """Whether there are so few slices that only a user who names them can mean a volume."""
        return not self.skip and not self.problem and len(self.images) < MIN_SLICES

    @property
    def foreign(self) -> bool:
        """Whether they are CT slices but for their SOP class."""
        return not self.skip and any(image.foreign for image in self.images)

    @property
    def number(self) -> int | None:
        """Series number, the lowest if images differ, or ``None``."""
        return min((i.number for i in self.images if i.number is not None), default=None)

    @property
    def id(self) -> str:
        """Series number and a hash, such as ``s003_ab12cd34``.

        It follows from the headers of these images alone: not from where they lie, in what order
        they are found, or what other images there are.
        """
        facts = sorted(repr((i.series, i.marks, i.uid, i.frame, i.position)) for i in self.images)
        digest = hashlib.sha256("\n".join([self.skip, *facts]).encode("utf-8", "replace"))
        return f"s{abs(self.number or 0):03d}_{digest.hexdigest()[:8]}"
