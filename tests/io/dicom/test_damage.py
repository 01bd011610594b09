"""Whatever happens to a series: the same voxels at the same place, or an error of this package."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume
from tests.io._series import (
    STEP_MM,
    assert_nothing_identifying,
    enhanced,
    hounsfield,
    lps_affine,
    make_series,
    set_stored,
)

COUNT = 7
CONSENTS = ReadOptions(assume_hu=True, force=True)
NEEDED = [
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "PixelData"),
]
which = st.integers(0, COUNT - 1)
inner = st.integers(1, COUNT - 2)
# Beyond what is regular: 0.15 of a spacing for every slice, an end slice drags the grid along.
sizes = st.floats(1, 60)
signs = st.sampled_from([-1, 1])


def as_bytes(dataset):
    buffer = DicomBytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damage")


def put(folder, files):
    for path in folder.iterdir():
        path.unlink()
    for i, content in enumerate(files):
        (folder / f"IM{i:03d}").write_bytes(
            content if isinstance(content, bytes) else as_bytes(content)
        )


def refused(folder, files, options=None):
    put(folder, files)
    with pytest.raises(CtVaeError) as caught:
        read_volume(folder, options)
    assert_nothing_identifying(str(caught.value))


def slices():
    return make_series(COUNT)


@given(inner, st.integers(0, 3))
def test_an_inner_gap_is_refused(folder, first, more):
    left = slices()
    del left[first : min(first + more, COUNT - 2) + 1]
    refused(folder, left, CONSENTS)


@given(st.integers(0, 2), st.integers(0, 2))
def test_missing_end_slices_leave_exactly_the_others(folder, low, high):
    put(folder, make_series(8)[low : 8 - high])
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield()[:, :, low : 8 - high])
    expected = lps_affine()
    expected[2, 3] += low * STEP_MM
    np.testing.assert_allclose(volume.grid.affine, expected, atol=1e-9)


@given(inner, sizes, signs, st.integers(0, 2))
def test_a_moved_inner_slice_is_refused(folder, k, by, sign, axis):
    changed = slices()
    changed[k].ImagePositionPatient[axis] += sign * by
    refused(folder, changed, CONSENTS)


@given(st.sampled_from([0, COUNT - 1]), sizes, st.integers(0, 2))
def test_an_end_slice_moved_outwards_or_sideways_is_refused(folder, k, by, axis):
    changed = slices()
    changed[k].ImagePositionPatient[axis] += -by if k == 0 else by
    refused(folder, changed, CONSENTS)


@given(which, st.floats(0.1, 89), signs, st.booleans())
def test_a_tilted_slice_is_refused(folder, k, degrees, sign, around_row):
    angle = np.deg2rad(degrees) * sign
    c, s = round(float(np.cos(angle)), 8), round(float(np.sin(angle)), 8)
    changed = slices()
    changed[k].ImageOrientationPatient = [1, 0, 0, 0, c, s] if around_row else [c, 0, s, 0, 1, 0]
    refused(folder, changed, CONSENTS)


@given(st.floats(0.7, 45), signs, st.integers(0, 1))
def test_a_tilted_stack_is_refused(folder, degrees, sign, axis):
    changed = slices()
    for k, dataset in enumerate(changed):
        shift = sign * k * STEP_MM * float(np.tan(np.deg2rad(degrees)))
        dataset.ImagePositionPatient[axis] = float(dataset.ImagePositionPatient[axis]) + shift
    refused(folder, changed, CONSENTS)


@given(which, st.data())
def test_a_cut_slice_is_refused(folder, k, data):
    contents = [as_bytes(dataset) for dataset in slices()]
    end = data.draw(st.integers(1, len(contents[k]) - 1))
    contents[k] = contents[k][:end]
    refused(folder, contents, CONSENTS)


@given(which, st.integers(0, 11), st.integers(0, 9), st.integers(1, 500), st.data())
def test_a_conflicting_slice_is_refused(folder, k, row, column, by, data):
    changed = slices()
    other = make_series(COUNT)[k]
    stored = hounsfield(COUNT)[:, :, k].T.astype(int) + 1024
    stored[row, column] += by
    set_stored(other, stored)
    other.SOPInstanceUID += ".5"
    changed.insert(data.draw(which), other)
    refused(folder, changed, CONSENTS)


@given(which, st.sampled_from(NEEDED), st.booleans())
def test_a_slice_without_a_needed_tag_is_refused(folder, k, keyword, empty):
    changed = slices()
    if empty and keyword != "PixelData":
        setattr(changed[k], keyword, None)
    else:
        delattr(changed[k], keyword)
    refused(folder, changed)


@given(which, st.integers(0, 2), st.sampled_from(["Rows", "Columns", "BitsStored", "PixelSpacing"]))
def test_one_slice_of_another_size_or_width_never_gives_other_voxels(folder, k, by, keyword):
    changed = slices()
    if keyword == "PixelSpacing":
        changed[k].PixelSpacing = [0.75 + 0.1 * (by + 1), 0.5]
    else:
        setattr(changed[k], keyword, getattr(changed[k], keyword) - by - 1)
    put(folder, changed)
    try:
        volume = read_volume(folder)
    except CtVaeError:
        return
    assert keyword == "BitsStored"
    np.testing.assert_array_equal(volume.voxels, hounsfield(COUNT))


def fuzzed(data, content):
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(changed)))
        stop = data.draw(st.integers(start, min(len(changed), start + 12)))
        changed[start:stop] = data.draw(st.binary(max_size=12))
    return bytes(changed)


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fuzzed_slices_raise_nothing_else(folder, capfd, data):
    contents = [as_bytes(dataset) for dataset in slices()]
    k = data.draw(which)
    contents[k] = fuzzed(data, contents[k])
    put(folder, contents)
    try:
        volume = read_volume(folder, ReadOptions(resample_irregular=True, assume_hu=True))
    except CtVaeError:
        volume = None
    assert volume is None or volume.voxels.dtype in (np.int16, np.float32)
    assert capfd.readouterr() == ("", "")


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fuzzed_multi_frame_files_raise_nothing_else(folder, capfd, data):
    put(folder, [fuzzed(data, as_bytes(enhanced()))])
    with contextlib.suppress(CtVaeError):
        read_volume(folder / "IM000", ReadOptions(resample_irregular=True, force=True))
    assert capfd.readouterr() == ("", "")
