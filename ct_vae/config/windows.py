"""Clinical CT windows: the HU ranges in which errors are measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ct_vae.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """A CT window: a range of HU given by its width and level.

    Attributes:
        name: Name of the window, such as ``lung``.
        width: Width in HU; also the data range of PSNR and SSIM.
        level: Center in HU.
    """

    name: str
    width: float
    level: float

    @property
    def low(self) -> float:
        """Lower end of the window in HU."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """Upper end of the window in HU."""
        return self.level + self.width / 2


WINDOWS = {
    window.name: window
    for window in (
        Window("full", 4024, 988),
        Window("lung", 1500, -600),
        Window("mediastinum", 350, 50),
        Window("soft_tissue", 400, 40),
        Window("liver", 150, 30),
        Window("brain", 80, 40),
        Window("stroke", 40, 40),
        Window("subdural", 200, 75),
        Window("bone", 1800, 400),
        Window("temporal_bone", 2800, 600),
        Window("vascular", 600, 200),
    )
}


def parse_window(text: str) -> Window:
    """Parse the name of a window in `WINDOWS`, or ``name:width/level`` in HU.

    Raises:
        ConfigError: If the text is neither of them.
    """
    key = text.strip().lower().replace(" ", "_").replace("-", "_")
    if key in WINDOWS:
        return WINDOWS[key]
    name, colon, numbers = text.partition(":")
    try:
        width, level = map(float, numbers.split("/"))
    except ValueError:
        width = level = math.nan
    name = name.strip()
    if not (colon and name and math.isfinite(level) and 0 < width < math.inf):
        raise ConfigError(
            f"{text!r} is not a window",
            f"give one of {', '.join(WINDOWS)}, or name:width/level in HU with a width above 0, "
            "such as kidney:300/80",
        )
    if name in WINDOWS and WINDOWS[name] != Window(name, width, level):
        known = WINDOWS[name]
        raise ConfigError(
            f"the window {name!r} is {known.width:g}/{known.level:g}, not {width:g}/{level:g}",
            "give the custom window another name",
        )
    return Window(name, width, level)
