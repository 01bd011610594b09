"""Series of which bytes outside the pixels were changed: as pydicom reads them, or refused.

What is read must agree with another reader of the same bytes, slice by slice: values, place,
directions and spacing; and every file must be in a series that is found, or stand for damage.
"""

import random
from io import BytesIO

import numpy as np
import pydicom
import pytest

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._series import enhanced, make_series, write_series

COUNT = 7
# Consents lift checks of values, not of structure.
CONSENTS = ReadOptions(force=True, assume_hu=True)
DIGITS = b"0123456789.-\\ "


def bytes_of(dataset):
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def header_size(content):
    """Bytes before the first pixel."""
    return content.rindex(b"\xe0\x7f\x10\x00OW") + 12


def mutate(rng, content):
    """Change some bytes before the first pixel."""
    size, changed = header_size(content), bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(132, size)
        match rng.choice(["flip", "digit", "random", "copy", "cut"]):
            case "flip":
                changed[at] ^= 1 << rng.randrange(8)
            case "digit":
                places = [i for i in range(132, size) if changed[i] in DIGITS]
                changed[rng.choice(places)] = rng.choice(DIGITS)
            case "random":
                changed[at : at + 4] = rng.randbytes(4)
            case "copy":
                start = rng.randrange(132, size)
                changed[at : at + 6] = changed[start : start + 6]
            case "cut":
                del changed[at : at + rng.randint(1, 8)]
                break
    return bytes(changed)


def rescale_of(dataset):
    """Slope and intercept, both of which stand there or none counts."""
    values = [dataset.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept")]
    return (1.0, 0.0) if None in values or "" in values else tuple(map(float, values))


def read_by_pydicom(path):
    """Values in HU row by row, place, directions and spacing of a slice."""
    dataset = pydicom.dcmread(path, force=True)
    dataset.BitsStored = dataset.BitsAllocated
    stored = np.frombuffer(dataset.PixelData[: 2 * dataset.Rows * dataset.Columns], "<u2")
    stored = stored.reshape(dataset.Rows, dataset.Columns)
    stored = stored.view(np.int16) if dataset.PixelRepresentation else stored
    slope, inter = rescale_of(dataset)
    place = [float(x) for x in dataset.ImagePositionPatient]
    turn = [float(x) for x in dataset.ImageOrientationPatient]
    return stored * slope + inter, place, turn, [float(x) for x in dataset.PixelSpacing]


def assert_as_pydicom_reads_it(volume, paths):
    used = set()
    for path in paths:
        values, place, turn, spacing = read_by_pydicom(path)
        x, y, z = volume.grid.to_index([-place[0], -place[1], place[2]])
        k = round(float(z))
        assert abs(z - k) <= 0.16
        assert np.hypot(x * spacing[1], y * spacing[0]) <= 0.16 * min(spacing)
        assert k not in used
        used.add(k)
        unit = np.diag([-1, -1, 1]) @ volume.grid.direction
        np.testing.assert_allclose(unit[:, 0], turn[:3], atol=2e-3)
        np.testing.assert_allclose(unit[:, 1], turn[3:], atol=2e-3)
        np.testing.assert_allclose(volume.grid.spacing_mm[:2], spacing[::-1], rtol=2e-3)
        seen = np.ones(values.shape, bool)
        if volume.outside_fov is not None:
            seen = ~volume.outside_fov[:, :, k].T
        plane = volume.voxels[:, :, k].T
        np.testing.assert_allclose(plane[seen], values[seen], rtol=1e-6, atol=1e-3)
    assert used == set(range(volume.grid.shape[2]))


def assert_all_files_are_told(folder, found):
    files = set(folder.iterdir())
    taken = {file for each in found for file in each.files}
    damaged = sum(each.slices for each in found if each.id.startswith("unreadable"))
    # A file that has lost its mark is no DICOM file, and said to be none.
    lost = [p for p in files - taken if p.read_bytes()[128:132] == b"DICM"]
    assert len(lost) <= damaged
    for each in found:
        assert each.verdict == "ok" or each.reason


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("start", range(0, 500, 50))
def test_a_series_with_changed_headers_is_read_as_pydicom_reads_it_or_refused(tmp_path, start):
    outcomes = {"read": 0, "refused": 0}
    for seed in range(start, start + 50):
        rng = random.Random(seed)
        folder = write_series(tmp_path / str(seed), make_series(COUNT, seed=seed))
        for path in rng.sample(sorted(folder.iterdir()), rng.choice([1, 1, 1, 2, COUNT])):
            path.write_bytes(mutate(rng, path.read_bytes()))
        found = scan_series(folder, CONSENTS)
        assert_all_files_are_told(folder, found)
        for each in found:
            if each.verdict != "ok":
                continue
            try:
                volume = each.read(CONSENTS)
            except CtVaeError:
                outcomes["refused"] += 1
                continue
            assert_as_pydicom_reads_it(volume, each.files)
            outcomes["read"] += 1
    assert min(outcomes["read"], 50 - outcomes["read"]) > 0


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_multi_frame_file_with_a_changed_header_gives_its_voxels_or_is_refused(tmp_path):
    """Numbers of its rescale apart, which may mean other voxels."""
    original = bytes_of(enhanced(8))
    expected = read_volume(write(tmp_path / "a", original), CONSENTS)
    for seed in range(150):
        content = mutate(random.Random(seed), original)
        dataset = parsed(content)
        try:
            volume = read_volume(write(tmp_path / "a", content), CONSENTS)
        except CtVaeError:
            continue
        if dataset is None or volume.grid.shape != expected.grid.shape:
            assert dataset is not None
            continue
        frames = dataset.PerFrameFunctionalGroupsSequence
        values = np.frombuffer(dataset.PixelData, "<i2").reshape(8, dataset.Rows, dataset.Columns)
        for frame, plane in zip(frames, values, strict=True):
            items = frame.get("PixelValueTransformationSequence") or [pydicom.Dataset()]
            slope, inter = rescale_of(items[0])
            place = [float(x) for x in frame.PlanePositionSequence[0].ImagePositionPatient]
            k = round(float(volume.grid.to_index([-place[0], -place[1], place[2]])[2]))
            hounsfield = plane * slope + inter
            seen = np.ones(plane.shape, bool)
            if volume.outside_fov is not None:
                seen = ~volume.outside_fov[:, :, k].T
            np.testing.assert_allclose(volume.voxels[:, :, k].T[seen], hounsfield[seen], atol=1e-3)


def write(path, content):
    path.write_bytes(content)
    return path


def parsed(content):
    try:
        return pydicom.dcmread(BytesIO(content), force=True)
    except Exception:
        return None
