"""What a user may allow or correct while a volume is read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ct_vae.errors import ConfigError


@dataclass(frozen=True)
class ReadOptions:
    """Consents and corrections for the readers; the defaults allow nothing.

    Attributes:
        frame: Which time point of a 4-D file to read, from 0.
        nan: ``"air"`` turns voxels that are not finite into air instead of refusing them.
        hu_offset: Added to every value before anything is judged, in HU.
        assume_ras: Take the axes of a file without orientation as running to R, A, S.
        force: Read a volume although its values do not look like HU.
        assume_hu: Take the stored numbers of DICOM images without rescale as HU.
        resample_irregular: Resample slices with gaps, uneven spacing, displacement or tilt, and
            sheared volumes, onto a regular orthogonal grid instead of refusing them.
        any_sop_class: Read DICOM images of modality CT that have the whole geometry of a CT volume
            although their SOP class is another, such as Secondary Capture.

    Raises:
        ConfigError: If a value is out of its range.
    """

    frame: int | None = None
    nan: Literal["refuse", "air"] = "refuse"
    hu_offset: float = 0.0
    assume_ras: bool = False
    force: bool = False
    assume_hu: bool = False
    resample_irregular: bool = False
    any_sop_class: bool = False

    def __post_init__(self) -> None:
        if self.frame is not None and self.frame < 0:
            raise ConfigError(f"frames are counted from 0, got {self.frame}")
        if self.nan not in ("refuse", "air"):
            raise ConfigError(f"nan is 'refuse' or 'air', got {self.nan!r}")
        if not math.isfinite(self.hu_offset):
            raise ConfigError(f"hu_offset is a finite number, got {self.hu_offset}")

    @classmethod
    def named(cls, owner: str, options: Mapping[str, Any]) -> ReadOptions:
        """Options by name, as configurations hold them.

        Args:
            owner: Who takes them, for messages.
            options: Values by name of the attribute.

        Raises:
            ConfigError: If there is no such option, or its value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise ConfigError(f"{owner} has no option {name!r}", hint)
        return cls(**options)
