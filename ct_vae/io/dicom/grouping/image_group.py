"""A group of images: one volume, or images that are refused or skipped for one reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ct_vae.errors import InputError
from ct_vae.io.dicom.image_header import ImageHeader

MIN_SLICES = 4


@dataclass(frozen=True)
class ImageGroup:
    """A group of images: one volume, or images that are refused or skipped for one reason.

    Attributes:
        images: Headers of the images.
        skip: Reason if the images are not a CT volume at all; empty otherwise.
        problem: Error if the images are refused regardless of the options.
        notes: Oddities and how they were resolved, one line each.
        separated_by: Names of the attributes that separate this group from others of its series.
        redundant: True if a complete volume covers all positions of a refused group.
        duplicates: Images that are identical to some of ``images`` and are not used.
    """

    images: Sequence[ImageHeader]
    skip: str = ""
    problem: InputError | None = None
    notes: tuple[str, ...] = ()
    separated_by: tuple[str, ...] = ()
    redundant: bool = False
    duplicates: Sequence[ImageHeader] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Warnings for the reader of the volume."""
        if not self.separated_by:
            return self.notes
        names = " and ".join(dict.fromkeys(self.separated_by))
        return *self.notes, f"one of several volumes of its series, which differ in {names}"

    @property
    def short(self) -> bool:
        """True if there are too few slices to be read, unless the user names the series."""
        return not self.skip and not self.problem and len(self.images) < MIN_SLICES

    @property
    def other_sop_class(self) -> bool:
        """True if the images are CT slices except for their SOP class."""
        return not self.skip and any(image.other_sop_class for image in self.images)

    @property
    def number(self) -> int | None:
        """Series number, the lowest if images differ, or ``None``."""
        return min((i.number for i in self.images if i.number is not None), default=None)

    @property
    def id(self) -> str:
        """Series number and a hash, such as ``s003_ab12cd34``.

        The id depends only on the headers of these images, not on their location, their order, or
        other images.
        """
        facts = sorted(
            repr((i.series, i.attributes, i.uid, i.frame, i.position)) for i in self.images
        )
        digest = hashlib.sha256("\n".join([self.skip, *facts]).encode("utf-8", "replace"))
        return f"s{abs(self.number or 0):03d}_{digest.hexdigest()[:8]}"
