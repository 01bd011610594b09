"""Glob patterns for paths of any depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def matches_part(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a pattern matches a path or one of the folders above it.

    Args:
        parts: Parts of the path.
        pattern: Parts of the pattern, in which ``**`` matches any number of folders. An empty
            pattern matches everything.
    """
    if not pattern:
        return True
    places = _with_empty(pattern, {0})
    for part in parts:
        after = set()
        for place in places:
            if place < len(pattern) and pattern[place] == "**":
                after.add(place)
            elif place < len(pattern) and fnmatchcase(part, pattern[place]):
                after.add(place + 1)
        places = _with_empty(pattern, after)
        if len(pattern) in places:
            return True
    return False


def _with_empty(pattern: Sequence[str], places: Iterable[int]) -> set[int]:
    """Add the indices that are reached if ``**`` matches no folder."""
    found: set[int] = set()
    for place in places:
        here = place
        found.add(here)
        while here < len(pattern) and pattern[here] == "**":
            here += 1
            found.add(here)
    return found
