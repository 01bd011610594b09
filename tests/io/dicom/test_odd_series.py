"""Series as they come from archives and scanners: what is read, what is refused, with which words.

Each maker writes a folder of 12 slices, or so, whose pixels all differ. A row says how many slices
each volume has that is read, what its warnings tell, and what the rest is refused or skipped for.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._series import (
    CT_IMAGE,
    ORIGIN,
    assert_nothing_identifying,
    enhanced,
    hounsfield,
    make_series,
    save,
    write_series,
)

N = 12
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def slices(change=None, n=N, seed=0, **options):
    """Slices that went through ``change(index, dataset)``."""
    made = make_series(n, seed=seed, **options)
    for k, dataset in enumerate(made):
        if change:
            change(k, dataset)
    return made


def one(change=None, n=N, **options):
    return lambda folder: write_series(folder, slices(change, n, **options))


def two(change, n=N, m=N, start=0.0, **options):
    """Two stacks of one series, the second changed by ``change(index, dataset)``."""

    def make(folder):
        write_series(folder / "a", slices(None, n, **options), lambda k: f"a{k:02d}")
        origin = (*ORIGIN[:2], ORIGIN[2] + start)
        write_series(folder / "b", slices(change, m, seed=1, origin=origin), lambda k: f"b{k:02d}")

    return make


def together(change, n=N, m=N, start=0.0):
    """The same in one folder."""

    def make(folder):
        write_series(folder, slices(None, n), lambda k: f"a{k:02d}")
        origin = (*ORIGIN[:2], ORIGIN[2] + start)
        write_series(folder, slices(change, m, seed=1, origin=origin), lambda k: f"b{k:02d}")

    return make


def put(**values):
    """Set elements of every slice."""

    def change(_, dataset):
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def per_slice(keyword, value):
    return lambda k, dataset: setattr(dataset, keyword, value(k))


def drop(keyword, every=1):
    return lambda k, d: delattr(d, keyword) if k % every == every - 1 else None


def time_per_slice(folder):
    for phase in range(4):
        made = slices(
            per_slice("AcquisitionTime", lambda k, p=phase: f"10{p:02d}{k + 10}"), seed=phase
        )
        write_series(folder, made, lambda k, p=phase: f"p{p}_{k}")


def scouts(folder):
    write_series(folder, slices())
    for k, dataset in enumerate(make_series(2, seed=9)):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [ORIGIN[0] - 2 * k, *ORIGIN[1:]]
        save(dataset, folder / f"scout{k}")


def stacks(gap):
    """An Enhanced file of two stacks of eight frames, the second ``gap`` mm behind the first."""

    def make(folder):
        dataset = enhanced(16)
        pointers = []
        for tag in (0x00209056, 0x00209057):
            item = Dataset()
            item.DimensionIndexPointer, item.FunctionalGroupPointer = tag, 0x00209111
            pointers.append(item)
        dataset.DimensionIndexSequence = Items(pointers)
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            place = [*ORIGIN[:2], ORIGIN[2] + k % 8 * 2.0 + (k // 8) * gap]
            frame.PlanePositionSequence[0].ImagePositionPatient = place
            content = Dataset()
            content.StackID, content.InStackPositionNumber = str(k // 8 + 1), k % 8 + 1
            content.DimensionIndexValues = [k // 8 + 1, k % 8 + 1]
            frame.FrameContentSequence = Items([content])
        save(dataset, folder / "file")

    return make


def unnamed_stacks(folder):
    """The same without StackID: only the dimension index tells the stacks."""
    stacks(60.0)(folder)
    import pydicom

    dataset = pydicom.dcmread(folder / "file")
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.FrameContentSequence[0].StackID
    dataset.save_as(folder / "file")


def behind(extra):
    """Bytes behind the pixels, inside their element."""

    def change(_, dataset):
        dataset.PixelData = dataset.PixelData + extra

    return change


def multi_frame(folder):
    dataset = enhanced(N)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CT_IMAGE
    del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
    dataset.ImagePositionPatient, dataset.PixelSpacing = list(ORIGIN), [0.75, 0.5]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    save(dataset, folder / "file")


def alternating(a, b):
    return lambda k: b if k % 2 else a


TWO_SPACINGS = [0, 2.5, 5, 7.5, 10, 12.5, 17.5, 22.5, 27.5, 32.5, 37.5, 42.5]
JITTER = np.arange(N) + np.random.default_rng(3).uniform(-0.01, 0.01, N)
ROUNDED = np.round(np.arange(N) * 1.25, 1)
PAIRS = np.cumsum([0, *[2.4, 2.6] * 5, 2.4])
TURNED = [1, 3e-4, 0, -3e-4, 1, 0]
UIDS = [f"1.2.3.{k}" for k in range(N)]

# By name: the maker, slices of what is read, words of their warnings, words of what is not read.
ROWS = {
    "directions alternate by 3e-4": (
        one(per_slice("ImageOrientationPatient", alternating([1, 0, 0, 0, 1, 0], TURNED))),
        [12],
        "directions by up to 0.0003",
        "",
    ),
    "pixel spacing of the halves differs by 2.5e-4": (
        one(per_slice("PixelSpacing", lambda k: [0.75 if k < 6 else 0.75019, 0.5])),
        [12],
        "pixel spacings by 0.00025",
        "",
    ),
    "no frame of reference in every second slice": (
        one(drop("FrameOfReferenceUID", 2)),
        [12],
        "",
        "",
    ),
    "two stacks of an Enhanced file, half a spacing apart": (stacks(1.0), [], "", "interleave"),
    "two stacks of an Enhanced file, far apart": (stacks(60.0), [8, 8], "told apart by stack", ""),
    "two stacks by their dimension index": (unnamed_stacks, [8, 8], "told apart by stack", ""),
    "two patients of one series UID, one above the other": (
        two(put(PatientID="other"), start=30.0),
        [12, 12],
        "told apart by patient",
        "",
    ),
    "two patients of one series UID at the same places": (
        two(put(PatientID="other")),
        [12, 12],
        "told apart by patient",
        "",
    ),
    "two patients whom only their folders tell apart": (
        two(None, start=30.0),
        [12, 12],
        "told apart by folder",
        "",
    ),
    "a frame of reference of its own in each slice, as in LIDC-IDRI": (
        one(per_slice("FrameOfReferenceUID", UIDS.__getitem__)),
        [12],
        "12 of its 12 images have a frame of reference of their own",
        "",
    ),
    "a study of its own in each slice": (
        one(per_slice("StudyInstanceUID", UIDS.__getitem__)),
        [12],
        "12 of its 12 images have a study of their own",
        "",
    ),
    "jitter of 0.01 mm at 1 mm": (
        one(positions=JITTER),
        [12],
        "lie off a regular grid by up to",
        "",
    ),
    "positions of one decimal at 1.25 mm": (one(positions=ROUNDED), [12], "off a regular grid", ""),
    "2.4 and 2.6 mm in turn": (one(positions=PAIRS), [12], "off a regular grid by up to 0.05", ""),
    "phases by acquisition time alone": (time_per_slice, [12] * 4, "apart by acquisition time", ""),
    "a last phase that is cut short": (
        together(put(AcquisitionNumber=2), m=9),
        [12],
        "told apart by acquisition number",
        "cut short: it has 9 of the 12 places",
    ),
    "two kernels": (
        lambda folder: [
            write_series(
                folder,
                slices(put(ConvolutionKernel=kernel, InstanceNumber=7), seed=seed),
                lambda k, s=seed: f"{s}_{k}",
            )
            for seed, kernel in enumerate(("B30f", "B70f"))
        ],
        [12, 12],
        "told apart by convolution kernel",
        "",
    ),
    "two acquisitions that overlap": (
        together(put(AcquisitionNumber=2), start=20.0),
        [12, 12],
        "told apart by acquisition number",
        "",
    ),
    "two acquisitions half a spacing apart": (
        together(put(AcquisitionNumber=2), start=1.25),
        [],
        "",
        "differ in acquisition number and interleave",
    ),
    "unmarked scouts": (scouts, [12], "", "a scout view"),
    "no SeriesInstanceUID": (
        one(drop("SeriesInstanceUID")),
        [12],
        "12 of its 12 images lack a SeriesInstanceUID",
        "",
    ),
    "zeros behind the pixels": (
        one(behind(bytes(512))),
        [12],
        "up to 512 bytes behind the pixels",
        "",
    ),
    "a few bytes behind the pixels": (one(behind(b"abcdef")), [12], "up to 6 bytes behind", ""),
    "rows behind the pixels": (
        one(behind(bytes(range(120)))),
        [],
        "",
        "declares 360 bytes of pixel data, its size needs 240",
    ),
    "RescaleType HOUNSFIELD": (one(put(RescaleType="HOUNSFIELD")), [12], "", ""),
    "RescaleType Hounsfield Units": (one(put(RescaleType="Hounsfield Units")), [12], "", ""),
    "RescaleType hu": (one(put(RescaleType="hu ")), [12], "", ""),
    "RescaleType of electron density": (one(put(RescaleType="ED")), [], "", "another unit than HU"),
    "three slices": (one(n=3), [], "", "only 3 slices"),
    "a secondary capture with the geometry of a volume": (
        one(put(SOPClassUID=CAPTURE)),
        [],
        "",
        "--any-sop-class",
    ),
    "two spacings": (
        one(positions=TWO_SPACINGS),
        [],
        "",
        "2 spacings: 2.5 mm from 100.000 to 112.500 mm, then 5 mm from 112.500 to 142.500 mm",
    ),
    "frames without functional groups": (
        multi_frame,
        [],
        "",
        "export it as single slices or as Enhanced CT",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_series_is_read_or_refused_as_it_should_be(tmp_path, name):
    make, sizes, told, reason = ROWS[name]
    folder = tmp_path / "study"
    make(folder)
    found = scan_series(folder)
    fit = [each for each in found if each.verdict == "ok"]
    assert sorted(each.slices for each in fit) == sorted(sizes)
    assert len({each.id for each in found}) == len(found)
    for each in fit:
        volume = each.read()
        assert volume.grid.shape[2] == each.slices
        assert told in " ".join(volume.warnings)
        assert bool(told) == bool(volume.warnings)
        assert_nothing_identifying(" ".join(volume.warnings))
    rest = [each for each in found if each.verdict != "ok"]
    assert bool(rest) == bool(reason)
    for each in rest:
        assert reason in each.reason
        assert_nothing_identifying(each.reason)
    # Every file is in a series that is read or told.
    files = {file for each in found for file in each.files}
    missed = {path for path in folder.rglob("*") if path.is_file()} - files
    assert not missed or any(each.id.startswith("unreadable") for each in rest)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[1] == [12]])
def test_the_voxels_of_one_whole_series_are_those_of_its_slices(tmp_path, name):
    ROWS[name][0](tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield(N))


def test_capture_and_few_slices_are_read_when_they_are_meant(tmp_path):
    ROWS["a secondary capture with the geometry of a volume"][0](tmp_path / "capture")
    volume = read_volume(tmp_path / "capture", ReadOptions(any_sop_class=True))
    np.testing.assert_array_equal(volume.voxels, hounsfield(N))
    with pytest.raises(CtVaeError, match="--any-sop-class"):
        read_volume(tmp_path / "capture", ReadOptions(force=True))
    ROWS["three slices"][0](tmp_path / "few")
    np.testing.assert_array_equal(read_volume(tmp_path / "few").voxels, hounsfield(3))


def test_one_tree_of_all_of_them_loses_no_file(tmp_path):
    """In one search, series of many folders share their UIDs, as constant UIDs would have it."""
    for name, (make, *_) in ROWS.items():
        make(tmp_path / name)
    found = scan_series(tmp_path)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    taken = [file for each in found for file in each.files if file.is_file()]
    unreadable = [each for each in found if each.id.startswith("unreadable")]
    assert len(files) - len({*taken}) == sum(each.slices for each in unreadable) == 1
    assert len({each.id for each in found}) == len(found)
    assert all(each.reason for each in found if each.verdict != "ok")
