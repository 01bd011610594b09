"""CT windows of the evaluation; defined in `ct_vae.config.windows`."""

from __future__ import annotations

from ct_vae.config.windows import WINDOWS, Window, parse_window

__all__ = ["WINDOWS", "Window", "parse_window"]
