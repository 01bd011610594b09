"""Images grouped by the values of their attributes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from ct_vae.io.dicom.image_header import ImageHeader

_Item = TypeVar("_Item")

# Names of the attributes in messages.
ATTRIBUTE_NAMES = {
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

# Attributes that separate sets of slices at the same positions, the most reliable first.
PHASE_ATTRIBUTES = (
    *("stack", "acquisition", "temporal", "dimensions", "cardiac", "trigger_time"),
    *("acquisition_time", "voltage", "image_type", "thickness", "content_time"),
)


def attribute_of(image: ImageHeader, name: str) -> str:
    """Return an attribute of an image as text.

    Args:
        image: The header.
        name: A field of `GroupingAttributes`, ``"folder"``, or ``"file"``. The file counts for
            multi-frame files only and is empty otherwise.
    """
    if name == "folder":
        return str(image.path.parent)
    if name == "file":
        return str(image.path) if image.frames > 1 else ""
    value: str = getattr(image.attributes, name)
    return value


def by_attribute(images: Iterable[ImageHeader], name: str) -> dict[str, list[ImageHeader]]:
    """Group images by the value of an attribute, in order of first appearance."""
    return by_value(images, lambda image: attribute_of(image, name))


def by_value(items: Iterable[_Item], value: Callable[[_Item], str]) -> dict[str, list[_Item]]:
    """Group items by a value, in order of first appearance."""
    sets: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        sets[value(item)].append(item)
    return dict(sets)
