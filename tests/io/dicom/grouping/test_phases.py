"""Sets of slices at the same places, whose pixels all differ."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.dicom.grouping import duplicates
from ct_vae.io.dicom.grouping.group_series import group_images
from tests.io.dicom.grouping._images import header, outcomes, stack
from tests.io.dicom.grouping._phases import clock, phases

ATTRIBUTES = [
    *("stack", "acquisition", "temporal", "dimensions", "cardiac", "trigger_time"),
    *("acquisition_time", "voltage", "image_type", "thickness", "content_time", "kernel"),
]


@pytest.fixture(autouse=True)
def contents():
    with patch.object(duplicates, "content_of", lambda image: image.uid):
        yield


def phase_of(group):
    return {image.path.name.split("_")[0] for image in group.images}


def assert_told_apart(images, count=3, n=12):
    groups = group_images(images)
    assert outcomes(groups) == [("ok", n)] * count
    assert sorted(min(phase_of(group)) for group in groups) == [f"p{p}" for p in range(count)]
    assert all(len(phase_of(group)) == 1 for group in groups)
    return groups


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_each_attribute_tells_phases_apart(attribute):
    for group in assert_told_apart(phases({attribute: lambda p, k: str(p + 1)})):
        assert "which differ in" in group.remarks[-1]


@pytest.mark.parametrize("attribute", ["trigger_time", "acquisition_time", "content_time"])
@pytest.mark.parametrize("noon", [36000, 86400 - 17, 86400 - 35])
def test_times_of_each_slice_tell_passes_apart_also_over_midnight(attribute, noon):
    def time(p, k):
        seconds = 20 * p + k
        return str(seconds) if attribute == "trigger_time" else clock(noon + seconds)

    if attribute != "content_time" or noon == 36000:
        assert_told_apart(phases({attribute: time}))


@pytest.mark.parametrize("back", [False, True])
def test_times_of_a_table_that_steps_on_after_all_passes(back):
    def time(p, k):
        return clock(36000 + 10 * (11 - k if back else k) + p)

    assert_told_apart(phases({"acquisition_time": time}))


def test_times_of_blocks_of_slices():
    assert_told_apart(phases({"acquisition_time": lambda p, k: clock(36000 + k // 4 * 60 + p * 7)}))


def test_numbers_of_each_turn_of_the_gantry_are_no_volumes():
    """Two passes of three turns: four slices share a number, which nothing puts together."""
    (group,) = group_images(phases({"acquisition": lambda p, k: str(3 * p + k // 4)}, 2))
    assert outcomes([group]) == [("refused", 24)]
    times = {"acquisition_time": lambda p, k: clock(36000 + 60 * p + k // 4)}
    assert_told_apart(phases({"acquisition": lambda p, k: str(3 * p + k // 4)} | times, 2), 2)


def test_three_acquisitions_of_which_each_overlaps_the_next():
    images = []
    for p in range(3):
        images += stack(start=16.0 * p, attributes={"acquisition": str(p)}, prefix=f"p{p}_")
    assert_told_apart(images)


@pytest.mark.parametrize("back", [False, True])
def test_instance_numbers_that_go_on_tell_passes_apart(back):
    def number(p, k):
        return 1 + 12 * p + (11 - k if back else k)

    assert_told_apart(phases({}, instance=number))


@pytest.mark.parametrize(
    "number",
    [
        # By place first, as exports number them: in what order at each is chance.
        lambda p, k: 1 + 3 * k + (p + k) % 3,
        lambda p, k: 1 + 3 * k + p,
        lambda p, k: 1 + k,
        lambda p, k: 7,
        lambda p, k: None,
    ],
)
def test_instance_numbers_that_do_not_go_through_all_places_tell_nothing(number):
    (group,) = group_images(phases({}, instance=number))
    assert outcomes([group]) == [("refused", 36)]
    assert "different pixels are at the same position" in str(group.problem)


def test_two_marks_together_tell_apart_what_neither_does():
    images = []
    for a in "12":
        for t in "xy":
            images += stack(prefix=f"{a}{t}", attributes={"acquisition": a, "temporal": t})
    assert outcomes(group_images(images)) == [("ok", 12)] * 4


@given(
    st.integers(2, 4),
    st.integers(4, 9),
    st.permutations(range(36)),
    st.sampled_from(["acquisition_time", "trigger_time", "content_time", "instance"]),
)
def test_numbers_by_chance_never_weave_phases_into_each_other(count, n, numbers, attribute):
    """Whatever is ok shows one phase, or is chance itself in the order of a scan."""
    images = []
    for p in range(count):
        for k in range(n):
            value = numbers[p * n + k]
            attributes = {} if attribute == "instance" else {attribute: str(1000 + value)}
            instance = value if attribute == "instance" else None
            images.append(
                header(k, 2.0 * k, name=f"p{p}_{k}", attributes=attributes, instance=instance)
            )
    for group in group_images(images):
        if group.problem:
            continue
        # Times that rise or fall from place to place are a scan, whichever slices it gave.
        order = [
            float(i.instance if attribute == "instance" else getattr(i.attributes, attribute))
            for i in sorted(group.images, key=lambda i: i.position[2])
        ]
        steps = np.diff(order)
        assert (steps >= 0).all() or (steps <= 0).all()
