"""Images by the values of their marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from ct_vae.io.dicom.image_header import ImageHeader

_Item = TypeVar("_Item")

# What marks are called in messages.
NAMES = {
    "patient": "patient",
    "name": "patient",
    "study": "study",
    "frame_of_reference": "frame of reference",
    "kernel": "convolution kernel",
    "stack": "stack",
    "acquisition": "acquisition number",
    "temporal": "temporal position",
    "dimensions": "dimension index",
    "cardiac": "cardiac phase",
    "trigger_time": "trigger time",
    "acquisition_time": "acquisition time",
    "voltage": "tube voltage",
    "image_type": "image type",
    "thickness": "slice thickness",
    "content_time": "content time",
    "instance": "instance number",
    "folder": "folder",
    "file": "file",
}

# What separates sets of slices that take the same places, the surest first.
SEPARATORS = (
    *("stack", "acquisition", "temporal", "dimensions", "cardiac", "trigger_time"),
    *("acquisition_time", "voltage", "image_type", "thickness", "content_time"),
)


def mark_of(image: ImageHeader, name: str) -> str:
    """The value of a mark of an image, where ``folder`` and ``file`` are marks too.

    The file tells frames of multi-frame files apart, and nothing else.
    """
    if name == "folder":
        return str(image.path.parent)
    if name == "file":
        return str(image.path) if image.frames > 1 else ""
    value: str = getattr(image.marks, name)
    return value


def by_mark(images: Iterable[ImageHeader], name: str) -> dict[str, list[ImageHeader]]:
    """Images by the value of a mark, in the order in which values first come up."""
    return by_value(images, lambda image: mark_of(image, name))


def by_value(items: Iterable[_Item], value: Callable[[_Item], str]) -> dict[str, list[_Item]]:
    """Items by a value of theirs, in the order in which values first come up."""
    sets: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        sets[value(item)].append(item)
    return dict(sets)
