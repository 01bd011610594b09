"""The windows in which errors are judged, defined where the configuration can name them too."""

from __future__ import annotations

from ct_vae.config.windows import WINDOWS, Window, parse_window

__all__ = ["WINDOWS", "Window", "parse_window"]
