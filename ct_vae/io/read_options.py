"""Options of reading: corrections, and permissions to read unusual volumes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ct_vae.errors import ConfigError


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading; by default, unusual volumes are refused.

    Attributes:
        frame: Time point of a 4-D file, from 0.
        nan: ``"air"`` replaces voxels that are not finite by air instead of refusing them.
        hu_offset: HU added to every value, before any check.
        assume_ras: Assume axes along R, A, S for a file without orientation.
        force: Read a volume even if its values do not look like HU.
        assume_hu: Read the stored values of DICOM images without rescale as HU.
        resample_irregular: Resample slices with gaps, uneven spacing, displacement or tilt, and
            sheared volumes, to a regular orthogonal grid instead of refusing them.
        any_sop_class: Read DICOM images of modality CT with the geometry of a CT volume and another
            SOP class, such as Secondary Capture.

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
            raise ConfigError(f"frame must be 0 or more, got {self.frame}")
        if self.nan not in ("refuse", "air"):
            raise ConfigError(f"nan must be 'refuse' or 'air', got {self.nan!r}")
        if not math.isfinite(self.hu_offset):
            raise ConfigError(f"hu_offset must be a finite number, got {self.hu_offset}")

    @classmethod
    def named(cls, owner: str, options: Mapping[str, Any]) -> ReadOptions:
        """Create options from a mapping.

        Args:
            owner: Name of the receiver, for messages.
            options: Values by name of the attribute.

        Raises:
            ConfigError: If an option is unknown, or its value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"options are {', '.join(known)}"
                raise ConfigError(f"{owner} has no option {name!r}", hint)
        return cls(**options)
