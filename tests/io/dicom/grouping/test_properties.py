"""For any images: none vanishes, none is in two volumes, no volume is half of another."""

from collections import Counter
from itertools import combinations, pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ct_vae.io.dicom.grouping import duplicates
from ct_vae.io.dicom.grouping.group_series import group_images
from ct_vae.io.dicom.grouping.planes import stack_of
from tests.io.dicom.grouping._images import AXIAL, SAGITTAL, header, outcomes, pixels, stack


@pytest.fixture(autouse=True)
def contents():
    """What a slice shows is what stands before the slash in its UID."""
    with patch.object(duplicates, "content_of", lambda image: image.uid.split("/")[0]):
        yield


def turned(angle):
    return (1.0, angle, 0, -angle, 1.0, 0)


few = st.integers(0, 1)
values = st.sampled_from(["", "a", "b"])
orientations = st.sampled_from([AXIAL, turned(3e-4), turned(9e-4), turned(4e-3), SAGITTAL])
spacings = st.sampled_from([(0.75, 0.5), (0.7502, 0.5), (0.76, 0.5)])


@st.composite
def wild_images(draw):
    """One to three stacks of a few series, with meaningful or random attributes."""
    images = []
    for number in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 9))
        step = draw(st.sampled_from([2.0, 4.0]))
        start = draw(st.sampled_from([0, 1.0, 2.0, 0.3, 9.0, 40.0]))
        orientation, spacing = draw(orientations), draw(spacings)
        folder, series = draw(st.sampled_from("pq")), draw(st.sampled_from(["1.2", "1.3", ""]))
        own = draw(
            st.fixed_dictionaries(dict.fromkeys(("patient", "kernel", "acquisition"), values))
        )
        each = draw(st.sampled_from(["", "study", "frame_of_reference", "stack", "acquisition"]))
        odd = draw(
            st.sampled_from(["", "orientation", "spacing", "pixels", "position", "instance"])
        )
        for k in range(count):
            attributes = dict(own)
            if each:
                attributes[each] = draw(st.sampled_from(["", "a", "b", f"{number}.{k}"]))
            attributes["acquisition_time"] = draw(
                st.sampled_from(["", f"1000{k:02d}", f"10{number}0{k:02d}"])
            )
            changes = {"orientation": orientation, "spacing": spacing, "folder": folder}
            if odd and draw(few):
                changes |= {
                    "orientation": {"orientation": draw(orientations)},
                    "spacing": {"spacing": draw(spacings)},
                    "pixels": {"pixels": pixels(20, 20)},
                    "position": {
                        "position": draw(st.sampled_from([None, (-10, -20, k * step + 0.4)]))
                    },
                    "instance": {"instance": draw(st.sampled_from([None, 1, k]))},
                }[odd]
            shows = draw(st.sampled_from(["same", f"{number}.{k}"]))
            images.append(
                header(
                    k,
                    start + k * step,
                    name=f"{number}_{k}",
                    series=series,
                    attributes=attributes,
                    **{"uid": f"{shows}/{number}.{k}"} | changes,
                )
            )
    return images


def told(image):
    return image.path, image.frame


def center_distances(group, normal):
    return np.sort([np.asarray(image.position) @ normal for image in group.images])


def between(a, b):
    """A banal reference: whether any of ``b`` lies inside a gap of ``a``, away from its ends."""
    near = 0.3 * min(np.diff(a).min(), np.diff(b).min())
    return any(low + near < at < high - near for low, high in pairwise(a) for at in b)


@settings(max_examples=200)
@given(wild_images(), st.randoms(use_true_random=False))
def test_every_image_is_in_one_group_and_no_two_volumes_interleave(images, random):
    groups = group_images(images)
    seen = Counter(told(i) for group in groups for i in (*group.images, *group.duplicates))
    assert seen == Counter(map(told, images))
    assert len({group.id for group in groups}) == len(groups)
    fit = [group for group in groups if not (group.skip or group.problem or group.short)]
    for group in fit:
        # Each place is taken once, and by one patient.
        distances = stack_of(group.images).distances_mm
        assert np.diff(distances).min() > 0.1
        assert len({i.attributes.patient for i in group.images} - {""}) in {0, 1, len(group.images)}
        assert len({i.series for i in group.images} - {""}) <= 1
    for a, b in combinations(fit, 2):
        first, other = a.images[0], b.images[0]
        apart = (
            "folder" in (*a.separated_by, *b.separated_by)
            or first.attributes.patient != other.attributes.patient
        )
        normals = [np.cross(i.orientation[:3], i.orientation[3:]) for i in (first, other)]
        if first.series != other.series or apart or abs(normals[0] @ normals[1]) < 0.9:
            continue
        x, y = (center_distances(group, normals[0]) for group in (a, b))
        assert not (between(x, y) and between(y, x))
    # The order in which files are found changes nothing.
    shuffled = list(images)
    random.shuffle(shuffled)
    again = {group.id: outcomes([group]) for group in group_images(shuffled)}
    assert again == {group.id: outcomes([group]) for group in groups}


@given(
    st.integers(4, 30),
    st.lists(st.floats(-4.9e-4, 4.9e-4), min_size=30, max_size=30),
    st.lists(st.floats(-4.9e-4, 4.9e-4), min_size=30, max_size=30),
    st.booleans(),
)
@example(12, [0, 3e-4] * 15, [0.0] * 30, False)
@example(12, [0.0] * 30, [0.0] * 6 + [2.5e-4] * 24, True)
def test_small_differences_of_planes_never_divide_a_series(count, turns, scales, absent):
    images = stack(
        count,
        orientation=lambda k: turned(turns[k]),
        spacing=lambda k: (0.75 * (1 + scales[k]), 0.5),
        attributes={"frame_of_reference": lambda k: "" if absent and k % 2 else "1.2"},
    )
    (group,) = group_images(images)
    assert outcomes([group]) == [("ok", count)]
    largest = max(np.ptp(turns[:count]), np.ptp(scales[:count]))
    assert any("the median was used" in note for note in group.notes) == (largest > 1e-5)


@given(st.integers(2, 6), st.integers(0, 100), st.booleans())
def test_a_series_is_never_halved_by_a_mark_that_alternates(period, seed, both):
    """Whatever alternates along the normal gives one volume of all slices, or none."""
    rng = np.random.default_rng(seed)
    attributes = rng.choice(
        ["study", "frame_of_reference", "kernel", "stack", "acquisition", "temporal"], 2
    )
    images = stack(
        24,
        attributes={
            m: lambda k: "ab"[k // period % 2] for m in (attributes if both else attributes[:1])
        },
    )
    found = outcomes(group_images(images))
    assert not [size for kind, size in found if kind == "ok" and size < 24]


@given(st.integers(1, 5), st.integers(4, 12), st.booleans())
def test_a_drift_of_small_steps_is_refused(steps, count, scale):
    """Each slice is near to the one before, and the last is far from the first."""
    if scale:
        images = stack(count, spacing=lambda k: (0.75 * (1 + 0.0009 * steps) ** k, 0.5))
    else:
        images = stack(count, orientation=lambda k: turned(9e-4 * steps * k))
    found = outcomes(group_images(images))
    assert [kind for kind, _ in found if kind == "ok"] == []
