"""Synthetic CT series, every identifying element of which holds a mark that must not come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from tests.io._samples import ct_voxels

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
MARK = "QXMARKQX"
UID_MARK = "77665544"
DATE_MARK = "19391107"
ROW, COLUMN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
STEP_MM = 2.5
ORIGIN = (-12.5, -20.25, 100.0)
SPACING = (0.75, 0.5)
SIDES = (12, 10)


def hounsfield(n=8, sides=SIDES, seed=0):
    """``(columns, rows, n)`` in HU, whole numbers."""
    rows, columns = sides
    return ct_voxels((columns, rows, n), seed)


def identify(dataset, k=0):
    """Fill what says who, when and where with marks."""
    dataset.PatientName = f"{MARK}^Jane"
    dataset.PatientID = f"{MARK}1"
    dataset.PatientBirthDate = DATE_MARK
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = DATE_MARK
    dataset.AccessionNumber = f"{MARK}2"[:16]
    dataset.InstitutionName = f"{MARK} hospital"
    dataset.ReferringPhysicianName = f"{MARK}^Doc"
    dataset.StudyDescription = dataset.SeriesDescription = f"{MARK} study"
    dataset.ImageComments = f"{MARK} comment"
    dataset.StationName = MARK
    dataset.StudyInstanceUID = f"1.2.{UID_MARK}.1"
    dataset.SeriesInstanceUID = f"1.2.{UID_MARK}.2"
    dataset.FrameOfReferenceUID = f"1.2.{UID_MARK}.3"
    dataset.SOPInstanceUID = f"1.2.{UID_MARK}.4.{k + 1}"


def file_meta(sop_class, instance, syntax):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID("1.2.3")
    return meta


def describe_pixels(dataset, sides, allocated=16, stored=16, signed=True):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = sides
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = int(signed)


def make_slice(k, plane, position, orientation=(*ROW, *COLUMN), syntax=ExplicitVRLittleEndian):
    """One slice: ``plane`` is ``(rows, columns)`` in HU, stored with an intercept of -1024."""
    dataset = Dataset()
    dataset.SOPClassUID = CT_IMAGE
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality = "CT"
    identify(dataset, k)
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 3, 1, k + 1
    dataset.ImagePositionPatient = [float(x) for x in position]
    dataset.ImageOrientationPatient = [float(x) for x in orientation]
    dataset.PixelSpacing = list(SPACING)
    dataset.SliceThickness = 7.0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    describe_pixels(dataset, plane.shape)
    set_stored(dataset, plane.astype(np.int64) + 1024)
    dataset.file_meta = file_meta(CT_IMAGE, dataset.SOPInstanceUID, syntax)
    return dataset


def set_stored(dataset, stored, order="<"):
    """Replace the stored numbers."""
    kind = "i" if dataset.PixelRepresentation else "u"
    dtype = np.dtype(f"{order}{kind}{dataset.BitsAllocated // 8}")
    dataset.PixelData = np.asarray(stored).astype(dtype).tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"


def make_series(
    n=8, sides=SIDES, seed=0, positions=None, orientation=(*ROW, *COLUMN), origin=ORIGIN
):
    """Slices along the normal, or at ``positions`` along it (in mm) or in LPS+ (n, 3)."""
    voxels = hounsfield(n, sides, seed)
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.arange(n) * STEP_MM if positions is None else np.asarray(positions, float)
    points = np.asarray(origin) + along[:, None] * normal if along.ndim == 1 else along
    return [make_slice(k, voxels[:, :, k].T, points[k], orientation) for k in range(n)]


def save(dataset, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True, **options)
    return path


def write_series(folder: Path, slices: Sequence[Dataset], name: Callable[[int], str] | None = None):
    """Write slices under names in an order that is not that of their positions."""
    name = name or (lambda k: f"{(k * 7 + 3) % 997:03d}")
    for k, dataset in enumerate(slices):
        save(dataset, folder / name(k))
    return folder


def enhanced(n=8, sides=SIDES, seed=0, order=None, slopes=None):
    """One Enhanced CT image whose frames are in the given order."""
    voxels = hounsfield(n, sides, seed)
    order = list(range(n)) if order is None else order
    dataset = Dataset()
    dataset.SOPClassUID = ENHANCED_CT
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.Modality, dataset.SeriesNumber, dataset.NumberOfFrames = "CT", 5, n
    identify(dataset)
    describe_pixels(dataset, sides)
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = list(SPACING)
    shared.PlaneOrientationSequence = Items([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [*ROW, *COLUMN]
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    frames, stored = [], []
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = Items([Dataset()])
        frame.PlanePositionSequence[0].ImagePositionPatient = [
            *ORIGIN[:2],
            ORIGIN[2] + k * STEP_MM,
        ]
        slope = 1 if slopes is None else slopes[k]
        frame.PixelValueTransformationSequence = Items([Dataset()])
        frame.PixelValueTransformationSequence[0].RescaleSlope = slope
        frame.PixelValueTransformationSequence[0].RescaleIntercept = -1024
        frame.PixelValueTransformationSequence[0].RescaleType = "HU"
        frames.append(frame)
        stored.append((voxels[:, :, k].T.astype(np.int64) + 1024) // slope)
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    set_stored(dataset, np.stack(stored))
    dataset.file_meta = file_meta(ENHANCED_CT, dataset.SOPInstanceUID, ExplicitVRLittleEndian)
    return dataset


def lps_affine(orientation=(*ROW, *COLUMN), origin=ORIGIN, step=None):
    """The affine that a series has by the standard (PS3.3 C.7.6.2.1.1), in RAS+."""
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    step = np.cross(row, column) * STEP_MM if step is None else np.asarray(step)
    lps = np.eye(4)
    lps[:3] = np.stack([row * SPACING[1], column * SPACING[0], step, np.asarray(origin)], axis=1)
    return np.diag([-1, -1, 1, 1]) @ lps


def compress(dataset, syntax, encode):
    """Replace the pixels of a slice by encapsulated ones."""
    dataset.PixelData = encapsulate([encode(dataset)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def assert_nothing_identifying(text):
    for mark in (MARK, UID_MARK, DATE_MARK):
        assert mark not in text, text


def told_by(volume):
    """All text that a volume carries."""
    return repr((dict(volume.source), volume.warnings))
