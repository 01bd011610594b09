"""Which images belong together as one volume: by series, geometry and phase, never by file name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io.dicom.file import AGAIN, quiet
from ct_vae.io.dicom.gdcm_pool import Gdcm
from ct_vae.io.dicom.geometry import COSINE_TOLERANCE, normal_of, same_place_mm
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.pixels import declared_fault, iterate_slices, outside_view

MIN_SLICES = 4
# Spacings of one series are the same decimals.
_SPACING_RATIO = 1e-4
_SHOWN = 8


@dataclass(frozen=True)
class Group:
    """Images that make up one volume, or that cannot.

    Attributes:
        key: What tells it from others, for its id; identifying, never shown.
        images: Their headers.
        skip: Why it is no CT volume at all; empty if it is meant to be one.
        problem: Why it is refused whatever is consented to.
        notes: What was settled, one line each.
    """

    key: str
    images: Sequence[ImageHeader]
    skip: str = ""
    problem: InputError | None = None
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Series number and a hash, such as ``s003_ab12cd34``."""
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:8]
        return f"s{abs(self.images[0].number or 0):03d}_{digest}"


def group_images(images: Iterable[ImageHeader]) -> list[Group]:
    """Put images together that belong to one volume; several phases make several volumes."""
    series: dict[tuple[str, str], list[ImageHeader]] = defaultdict(list)
    for image in images:
        series[image.series, image.skip].append(image)
    groups: list[Group] = []
    for (uid, skip), members in series.items():
        if skip:
            groups.append(Group(f"{uid}|{skip}", members, skip=skip))
        else:
            groups.extend(_split_series(uid, members))
    return groups


def _split_series(uid: str, images: Sequence[ImageHeader]) -> list[Group]:
    problem = _missing(images)
    if problem:
        return [Group(uid, images, problem=problem)]
    alike = _alike(images)
    if len(alike) > 1 and min(map(len, alike)) < MIN_SLICES:
        return [Group(uid, images, problem=_mixed(alike))]
    groups: list[Group] = []
    for members in alike:
        key = uid if len(alike) == 1 else f"{uid}|{_geometry(members[0])}"
        groups.extend(_split_phases(key, members))
    return groups


def _missing(images: Sequence[ImageHeader]) -> InputError | None:
    """What no slice can do without."""
    wanted: dict[str, Callable[[ImageHeader], bool]] = {
        "ImagePositionPatient": lambda image: image.position is not None,
        "ImageOrientationPatient": lambda image: image.orientation is not None,
        "PixelSpacing": lambda image: image.spacing is not None,
    }
    for name, has in wanted.items():
        lacking = sum(not has(image) for image in images)
        if lacking:
            return InputError(
                f"{lacking} of {len(images)} slices lack {name}, without which their place is "
                "not known",
                AGAIN,
            )
    faults = {image.pixels.fault for image in images if image.pixels is not None} - {""}
    if faults:
        count = sum(bool(image.pixels and image.pixels.fault) for image in images)
        return InputError(f"{count} of {len(images)} slices {'; '.join(sorted(faults))}")
    try:
        for image in images:
            normal_of(image.orientation or ())
    except InputError as error:
        return error
    return None


def _alike(images: Sequence[ImageHeader]) -> list[list[ImageHeader]]:
    """Images by frame of reference, matrix, spacing and orientation."""
    groups: list[list[ImageHeader]] = []
    for image in images:
        for group in groups:
            if not _differences(group[0], image):
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


def _differences(a: ImageHeader, b: ImageHeader) -> list[str]:
    assert a.pixels
    assert b.pixels
    found = []
    if a.frame_of_reference != b.frame_of_reference:
        found.append("study or frame of reference")
    if (a.pixels.rows, a.pixels.columns) != (b.pixels.rows, b.pixels.columns):
        found.append("number of rows and columns")
    if not np.allclose(a.spacing or (), b.spacing or (), rtol=_SPACING_RATIO, atol=0):
        found.append("pixel spacing")
    if not np.allclose(a.orientation or (), b.orientation or (), rtol=0, atol=COSINE_TOLERANCE):
        found.append("orientation")
    return found


def _mixed(alike: Sequence[Sequence[ImageHeader]]) -> InputError:
    names = sorted({n for group in alike[1:] for n in _differences(alike[0][0], group[0])})
    counts = ", ".join(str(len(group)) for group in alike[:_SHOWN])
    return InputError(
        f"its slices do not belong together: groups of {counts} differ in {', '.join(names)}",
        "move away those that are not meant",
    )


def _geometry(image: ImageHeader) -> str:
    assert image.pixels
    rounded = [f"{v:.3f}" for v in (*(image.orientation or ()), *(image.spacing or ()))]
    return "|".join(
        [*image.frame_of_reference, f"{image.pixels.rows}x{image.pixels.columns}", *rounded]
    )


def _split_phases(key: str, images: Sequence[ImageHeader]) -> list[Group]:
    """One group if every place is taken once; else by phase, without doubles, or refused."""
    places = _places(images)
    if len(places) == len(images):
        return [_sized(Group(key, images))]
    if len(places) == 1:
        at = _distance(images[0])
        cause = f"all of its {len(images)} slices lie at one place, {at:.3f} mm along their normal"
        return [Group(key, images, problem=InputError(cause, AGAIN))]
    try:
        return _phases(key, images) or _settled(key, images, places)
    except CtVaeError as error:
        return [Group(key, images, problem=InputError(error.cause, error.hint))]


def _settled(
    key: str, images: Sequence[ImageHeader], places: Sequence[Sequence[ImageHeader]]
) -> list[Group]:
    """Groups after slices that repeat others are dropped, first within a phase, then at all.

    Raises:
        InputError: If different slices remain at one place.
    """
    for same_phase in (True, False):
        kept = _without_doubles(places, same_phase)
        dropped = len(images) - len(kept)
        notes = (f"{dropped} slices that repeat others exactly were dropped",) if dropped else ()
        if len(kept) == len(places):
            return [_sized(Group(key, kept, notes=notes))]
        phases = _phases(key, kept, notes)
        if phases:
            return phases
    twice = [_distance(place[0]) for place in _places(kept) if len(place) > 1]
    shown = ", ".join(f"{at:.3f}" for at in twice[:_SHOWN])
    more = f" and {len(twice) - _SHOWN} more places" if len(twice) > _SHOWN else ""
    raise InputError(
        f"slices with different pixels lie at the same place: {shown} mm{more}",
        "move away those that are not meant",
    )


def _sized(group: Group) -> Group:
    if len(group.images) >= MIN_SLICES:
        return group
    count = len(group.images)
    reason = f"only {count} slice{'s' if count > 1 else ''}, a volume has at least {MIN_SLICES}"
    return Group(group.key, group.images, skip=reason, notes=group.notes)


def _distance(image: ImageHeader) -> float:
    return float(np.asarray(image.position) @ normal_of(image.orientation or ()))


def _places(images: Sequence[ImageHeader]) -> list[list[ImageHeader]]:
    """Images by their place along the normal, ascending."""
    normal = normal_of(images[0].orientation or ())
    distances = np.asarray([image.position for image in images]) @ normal
    order = np.argsort(distances, kind="stable")
    near = same_place_mm(distances.tolist())
    places = [[images[int(order[0])]]]
    for before, after in pairwise(order.tolist()):
        if distances[after] - distances[before] <= near:
            places[-1].append(images[after])
        else:
            places.append([images[after]])
    return places


def _phases(key: str, images: Sequence[ImageHeader], notes: tuple[str, ...] = ()) -> list[Group]:
    """Groups by the first attribute that gives several sets of slices at the very same places."""
    places = {
        (image.path, image.frame): i for i, place in enumerate(_places(images)) for image in place
    }
    for attribute in range(len(images[0].phases)):
        sets: dict[str, list[ImageHeader]] = defaultdict(list)
        for image in images:
            sets[image.phases[attribute]].append(image)
        taken = [
            sorted(places[image.path, image.frame] for image in each) for each in sets.values()
        ]
        full = list(range(max(places.values()) + 1))
        if len(sets) > 1 and all(each == full for each in taken):
            return [
                _sized(Group(f"{key}|{attribute}|{value}", each, notes=notes))
                for value, each in sets.items()
            ]
    return []


def _without_doubles(
    places: Sequence[Sequence[ImageHeader]], same_phase: bool
) -> list[ImageHeader]:
    kept: list[ImageHeader] = []
    for place in places:
        seen = set()
        for image in place:
            mark = (_content(image) if len(place) > 1 else "", image.phases if same_phase else ())
            if mark not in seen:
                kept.append(image)
            seen.add(mark)
    return kept


def _content(image: ImageHeader) -> str:
    """A hash of what a slice shows, and where in its plane."""
    if fault := declared_fault(image):
        raise InputError(f"a slice at {_distance(image):.3f} mm {fault}", AGAIN)
    digest = hashlib.sha256(repr([round(x, 3) for x in image.position or ()]).encode())
    with quiet(), Gdcm() as gdcm:
        for _, values in iterate_slices([image], gdcm):
            hounsfield = values.stored * np.float64(image.slope or 1) + np.float64(image.inter or 0)
            outside = None
            if image.slope is not None and image.inter is not None:
                outside = outside_view(values, image)
            if outside is not None:
                hounsfield[outside] = np.inf
            digest.update((hounsfield + 0.0).tobytes())
    return digest.hexdigest()
