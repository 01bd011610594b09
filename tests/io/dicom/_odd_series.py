"""Series as they come from archives and scanners, and what is expected of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.io._series import ORIGIN, STEP_MM, write_series
from tests.io.dicom._series_makers import (
    CAPTURE,
    N,
    alternating,
    behind,
    cut,
    doubled,
    drop,
    multi_frame,
    number_in_words,
    one,
    per_slice,
    put,
    scouts,
    slices,
    stacks,
    time_per_slice,
    together,
    two,
    unnamed_stacks,
    without,
    wrong_meta_header,
)


@dataclass(frozen=True)
class Row:
    """One kind of series.

    Attributes:
        make: Writes it into a folder.
        sizes: Slices of each volume that is read.
        told: Words of their warnings; empty if there are none.
        reason: Words about what is not read; empty if all is.
        insist: What a user may do about that.
        step_mm: Distance of slices.
    """

    make: Callable[[Path], Any]
    sizes: tuple[int, ...] = (12,)
    told: str = ""
    reason: str = ""
    insist: str = ""
    step_mm: float = STEP_MM


TILTED = np.asarray(ORIGIN) + np.outer(np.arange(N), (0, 1.0, STEP_MM))
TWO_SPACINGS = [0, 2.5, 5, 7.5, 10, 12.5, 17.5, 22.5, 27.5, 32.5, 37.5, 42.5]
JITTER = np.arange(N) + np.random.default_rng(3).uniform(-0.01, 0.01, N)
ROUNDED = np.round(np.arange(N) * 1.25, 1)
PAIRS = np.cumsum([0, *[2.4, 2.6] * 5, 2.4])
TURNED = [1, 3e-4, 0, -3e-4, 1, 0]
UIDS = [f"1.2.3.{k}" for k in range(N)]


ROWS = {
    "directions alternate by 3e-4": Row(
        one(per_slice("ImageOrientationPatient", alternating([1, 0, 0, 0, 1, 0], TURNED))),
        told="directions by up to 0.0003",
    ),
    "pixel spacing of the halves differs by 2.5e-4": Row(
        one(per_slice("PixelSpacing", lambda k: [0.75 if k < 6 else 0.75019, 0.5])),
        told="pixel spacings by a fraction of 0.00025",
    ),
    "no frame of reference in every second slice": Row(one(drop("FrameOfReferenceUID", 2))),
    "two stacks of an Enhanced file, half a spacing apart": Row(
        stacks(1.0), sizes=(), reason="interleave", step_mm=2.0
    ),
    "two stacks of an Enhanced file, far apart": Row(
        stacks(60.0), sizes=(8, 8), told="which differ in stack", step_mm=2.0
    ),
    "two stacks by their dimension index": Row(
        unnamed_stacks, sizes=(8, 8), told="which differ in stack", step_mm=2.0
    ),
    "two patients of one series UID, one above the other": Row(
        two(put(PatientID="other"), start=30.0), sizes=(12, 12), told="which differ in patient"
    ),
    "two patients of one series UID at the same places": Row(
        two(put(PatientID="other")), sizes=(12, 12), told="which differ in patient"
    ),
    "two patients whom only their folders tell apart": Row(
        two(None, start=30.0), sizes=(12, 12), told="which differ in folder"
    ),
    "a frame of reference of its own in each slice, as in LIDC-IDRI": Row(
        one(per_slice("FrameOfReferenceUID", UIDS.__getitem__)),
        told="12 of its 12 images each have a different frame of reference",
    ),
    "a study of its own in each slice": Row(
        one(per_slice("StudyInstanceUID", UIDS.__getitem__)),
        told="12 of its 12 images each have a different study",
    ),
    "jitter of 0.01 mm at 1 mm": Row(
        one(positions=JITTER), told="deviate from a regular grid by up to", step_mm=1.0
    ),
    "positions of one decimal at 1.25 mm": Row(
        one(positions=ROUNDED), told="from a regular grid", step_mm=1.25
    ),
    "2.4 and 2.6 mm in turn": Row(one(positions=PAIRS), told="from a regular grid by up to 0.05"),
    "phases by acquisition time alone": Row(
        time_per_slice, sizes=(12, 12, 12, 12), told="which differ in acquisition time"
    ),
    "a last phase that is cut short": Row(
        together(put(AcquisitionNumber=2), m=9),
        told="which differ in acquisition number",
        reason="incomplete set of slices: it has 9 of the 12 positions",
    ),
    "two kernels": Row(
        lambda folder: [
            write_series(
                folder,
                slices(put(ConvolutionKernel=kernel, InstanceNumber=7), seed=seed),
                lambda k, s=seed: f"{s}_{k}",
            )
            for seed, kernel in enumerate(("B30f", "B70f"))
        ],
        sizes=(12, 12),
        told="which differ in convolution kernel",
    ),
    "two acquisitions that overlap": Row(
        together(put(AcquisitionNumber=2), start=20.0),
        sizes=(12, 12),
        told="which differ in acquisition number",
    ),
    "two acquisitions half a spacing apart": Row(
        together(put(AcquisitionNumber=2), start=1.25),
        sizes=(),
        reason="differ in acquisition number and interleave",
    ),
    "unmarked scouts": Row(scouts, reason="a scout view"),
    "no SeriesInstanceUID": Row(
        one(drop("SeriesInstanceUID")), told="12 of its 12 images lack a SeriesInstanceUID"
    ),
    "zeros behind the pixels": Row(
        one(behind(bytes(512))), told="up to 512 bytes after the pixels"
    ),
    "a few bytes behind the pixels": Row(one(behind(b"abcdef")), told="up to 6 bytes after"),
    "rows behind the pixels": Row(
        one(behind(bytes(range(120)))),
        sizes=(),
        reason="declares 360 bytes of pixel data, but its size requires 240",
    ),
    "RescaleType HOUNSFIELD": Row(one(put(RescaleType="HOUNSFIELD"))),
    "RescaleType Hounsfield Units": Row(one(put(RescaleType="Hounsfield Units"))),
    "RescaleType hu": Row(one(put(RescaleType="hu "))),
    "RescaleType of electron density": Row(
        one(put(RescaleType="ED")), sizes=(), reason="another unit than HU", insist="--force"
    ),
    "three slices": Row(one(n=3), sizes=(), reason="only 3 slices", insist="name it"),
    "a secondary capture with the geometry of a volume": Row(
        one(put(SOPClassUID=CAPTURE)), sizes=(), reason="--any-sop-class", insist="--any-sop-class"
    ),
    "two spacings": Row(
        one(positions=TWO_SPACINGS),
        sizes=(),
        reason="2.5 mm from 100.000 to 112.500 mm, then 5 mm from 112.500 to 142.500 mm",
        insist="--resample-irregular",
    ),
    "frames without functional groups": Row(
        multi_frame, sizes=(), reason="export it as single slices or as Enhanced CT"
    ),
    "SeriesNumber CT-3": Row(number_in_words),
    "explicit data under a meta header that says implicit": Row(
        wrong_meta_header, told="the transfer syntax in its meta header is wrong"
    ),
    "an identical double of a slice": Row(
        doubled(same=True), told="1 exact duplicates of slices were ignored"
    ),
    "two slices at one place": Row(
        doubled(same=False),
        sizes=(),
        reason="different pixels are at the same position: 112.500 mm",
    ),
    "a missing slice": Row(
        without(5), sizes=(), reason="a slice is missing", insist="--resample-irregular"
    ),
    "two stacks that nothing names": Row(
        one(positions=[*range(0, 12, 2), *range(200, 212, 2)]),
        sizes=(),
        reason="2 stacks of slices with up to 190 mm between them",
        insist="--resample-irregular",
        step_mm=2.0,
    ),
    "a tilted gantry": Row(
        one(positions=TILTED),
        sizes=(),
        reason="tilted by 21.80 degrees",
        insist="--resample-irregular",
    ),
    "no rescale": Row(
        one(drop("RescaleIntercept")),
        sizes=(),
        reason="12 of 12 slices lack RescaleSlope or RescaleIntercept",
        insist="--assume-hu",
    ),
    "no position in one slice": Row(
        one(lambda k, d: delattr(d, "ImagePositionPatient") if k == 4 else None),
        sizes=(),
        reason="1 of 12 slices lack ImagePositionPatient",
    ),
    "a truncated slice": Row(cut, sizes=(), reason="is truncated: it has 140 of 240 bytes"),
}
