"""Marks in everything by which a patient, a time or a place could be known."""

from __future__ import annotations

import nibabel as nib
import pydicom
from pydicom.datadict import DicomDictionary

from ct_vae.io import write_volume
from tests.io._series import DATE_MARK, MARK, UID_MARK

TIME_MARK = "071139.135791"
AGE_MARK = "093Y"
MARKS = (MARK, UID_MARK, DATE_MARK, TIME_MARK, AGE_MARK)

# What else than identity such an element could change, or what it is by its standard.
_MEANT = {
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "ImageType", "RescaleType"),
    *("PhotometricInterpretation", "TransferSyntaxUID"),
}
_VALUES = {
    **dict.fromkeys(("PN", "LO", "LT", "ST", "UT", "UC", "SH", "AE", "UR"), MARK),
    "DA": DATE_MARK,
    "DT": DATE_MARK,
    "TM": TIME_MARK,
    "UI": f"1.2.{UID_MARK}.9",
    "AS": AGE_MARK,
}
# Codes of NIfTI extensions: unknown, AFNI, a comment, XCEDE.
_EXTENSIONS = (0, 4, 6, 8)


def mark_everything(dataset):
    """A mark in every name, date, UID and text of the dictionary that the series lacks."""
    for tag, (kind, *_, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        usable = keyword and not retired and group > 0x0002 and keyword not in _MEANT
        if kind in _VALUES and usable and keyword not in dataset:
            dataset.add_new(tag, kind, _VALUES[kind])
    block = dataset.private_block(0x0011, f"{MARK} maker", create=True)
    block.add_new(0x01, "LO", MARK)
    block.add_new(0x02, "UN", MARK.encode())
    dataset.RequestAttributesSequence = [pydicom.Dataset()]
    dataset.RequestAttributesSequence[0].RequestedProcedureDescription = MARK
    return dataset


def marked_nifti(volume, path):
    """Write a volume by nibabel with marks in every text of its header and in extensions."""
    image = nib.Nifti1Image(volume.voxels, volume.grid.affine)
    image.header["descrip"] = f"{MARK}^Jane {DATE_MARK}"
    for name in ("aux_file", "intent_name", "db_name", "data_type"):
        image.header[name] = MARK
    patient = pydicom.Dataset()
    patient.PatientName = f"{MARK}^Jane"
    image.header.extensions.append(nib.nifti1.Nifti1DicomExtension(2, patient))
    for code in _EXTENSIONS:
        text = f"{MARK} {DATE_MARK}".encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension(code, text))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def marked_metaimage(volume, path):
    """The same of a MetaImage file, which may have comments and names of studies."""
    write_volume(volume, path)
    lines = f"Comment = {MARK}^Jane\nTransformName = {MARK} {DATE_MARK}\n".encode()
    path.write_bytes(path.read_bytes().replace(b"NDims", lines + b"NDims", 1))
    return path


def marked_nrrd(volume, path):
    """The same of an NRRD file: a comment, a field of text and a key of one's own."""
    write_volume(volume, path)
    lines = f"# {MARK}^Jane\ncontent: {MARK}\nPatient:={MARK} {DATE_MARK}\n".encode()
    path.write_bytes(path.read_bytes().replace(b"type:", lines + b"type:", 1))
    return path
