"""Makers of odd DICOM series: each writes a folder of 12 slices, or so, whose pixels all differ."""

from __future__ import annotations

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian

from tests.io._series import CT_IMAGE, ORIGIN, enhanced, make_series, save, write_series

N = 12
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def slices(change=None, n=N, seed=0, **options):
    """Slices that went through ``change(index, dataset)``."""
    made = make_series(n, seed=seed, **options)
    for k, dataset in enumerate(made):
        dataset.SOPInstanceUID += f".{seed}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
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


def number_in_words(folder):
    """SeriesNumber is text, which pydicom would not write."""
    for path in write_series(folder, slices()).iterdir():
        element = b"\x20\x00\x11\x00IS"
        old, new = element + b"\2\0" + b"3 ", element + b"\4\0" + b"CT-3"
        path.write_bytes(path.read_bytes().replace(old, new))


def wrong_meta_header(folder):
    """The meta header names implicit encoding, and the data are explicit."""
    for path in write_series(folder, slices()).iterdir():
        content = path.read_bytes()
        explicit = b"1.2.840.10008.1.2.1\0"
        at = content.index(explicit)
        implicit = ImplicitVRLittleEndian.encode() + b"\0"
        size = int.from_bytes(content[140:144], "little") + len(implicit) - len(explicit)
        length = len(implicit).to_bytes(2, "little")
        path.write_bytes(
            content[:140]
            + size.to_bytes(4, "little")
            + content[144 : at - 2]
            + length
            + implicit
            + content[at + len(explicit) :]
        )


def cut(folder):
    path = sorted(write_series(folder, slices()).iterdir())[0]
    path.write_bytes(path.read_bytes()[:-100])


def without(*gone):
    def make(folder):
        write_series(folder, [each for k, each in enumerate(slices()) if k not in gone])

    return make


def doubled(same):
    def make(folder):
        write_series(folder, slices())
        again = slices(seed=0 if same else 1)[5]
        again.SOPInstanceUID += ".7"
        save(again, folder / "again")

    return make
