"""Formatting of durations."""

from __future__ import annotations

import math


def readable_duration(seconds: float) -> str:
    """Format as ``45 s``, ``12 min``, ``3 h 05 min`` or ``2 d 07 h``; infinity is ``unknown``."""
    if not math.isfinite(seconds):
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02} h"
