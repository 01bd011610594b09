import datetime
from dataclasses import replace
from itertools import chain

import numpy as np
import pydicom
import pytest

from ct_vae.io.dicom.derived.elements import Derivation
from ct_vae.volume import DECODING
from tests.io import _series as series
from tests.io._derived import DERIVATION, N, derive, slices_of
from tests.io._marked import MARKS, mark_everything
from tests.io._samples import ct_volume, latent_of

# PS3.3 table A.3-1 and the tables of its mandatory modules: what is of type 1 and of type 2 there,
# and of type 1C and 2C where the condition is met by a derived, lossy series in HU.
TYPE_1 = {
    "General Study": ["StudyInstanceUID"],
    "General Series": ["Modality", "SeriesInstanceUID"],
    "Frame of Reference": ["FrameOfReferenceUID"],
    "General Image": [
        *("LossyImageCompression", "LossyImageCompressionRatio", "ContentDate", "ContentTime"),
    ],
    "General Reference": ["DerivationDescription", "DerivationCodeSequence"],
    "Image Plane": ["PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"],
    "Image Pixel": [
        *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated"),
        *("BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    ],
    "CT Image": ["ImageType", "RescaleIntercept", "RescaleSlope", "RescaleType"],
    "VOI LUT": ["WindowCenter", "WindowWidth"],
    "SOP Common": ["SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet"],
}
TYPE_2 = {
    "Patient": ["PatientName", "PatientID", "PatientBirthDate", "PatientSex"],
    "General Study": [
        *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    ],
    "General Series": ["SeriesNumber", "PatientPosition", "Laterality"],
    "Frame of Reference": ["PositionReferenceIndicator"],
    "General Equipment": ["Manufacturer"],
    "General Image": ["InstanceNumber"],
    "Image Plane": ["SliceThickness"],
    "CT Image": ["KVP", "AcquisitionNumber"],
}
META_1 = [
    *("FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID"),
    *("MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID"),
]


@pytest.fixture
def source(tmp_path):
    return series.write_series(tmp_path / "source", series.make_series(N))


@pytest.mark.parametrize("keep_identity", [False, True])
def test_every_attribute_that_ct_images_need_is_there(source, tmp_path, keep_identity):
    derive(source, tmp_path / "out", keep_identity=keep_identity)
    for found in slices_of(tmp_path / "out"):
        for keyword in chain(*TYPE_1.values()):
            assert found[keyword].value not in (None, "", []), keyword
        for keyword in chain(*TYPE_2.values()):
            assert keyword in found, keyword
        for keyword in META_1:
            assert found.file_meta[keyword].value, keyword
        for item in found.DerivationCodeSequence:
            assert all(item[k].value for k in ("CodeValue", "CodingSchemeDesignator"))
        assert len(found.PixelData) == 2 * found.Rows * found.Columns


def test_every_value_is_what_its_type_allows(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "_reading_validation_mode", pydicom.config.RAISE)
    derive(source, tmp_path / "out")
    for found in slices_of(tmp_path / "out"):
        for element in found.iterall():
            assert element.VR != "UN"
            assert element.keyword
            if element.VR in ("LO", "SH", "CS"):
                values = element.value if element.VM > 1 else [element.value or ""]
                assert all(len(v) <= {"LO": 64, "SH": 16, "CS": 16}[element.VR] for v in values)


def test_it_says_what_it_is(source, tmp_path):
    derive(source, tmp_path / "out")
    found = slices_of(tmp_path / "out")[2]
    assert list(found.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert found.LossyImageCompression == "01"
    assert found.LossyImageCompressionRatio == 16
    assert found.LossyImageCompressionMethod == "CT_VAE_KL"
    assert "not for diagnostic use" in found.SeriesDescription
    assert found.DerivationDescription == DERIVATION.description
    code = found.DerivationCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113040", "DCM")
    assert found.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert found.SeriesNumber == 1003


def test_identifiers_are_new_but_for_study_and_frame_and_refer_to_the_source(source, tmp_path):
    derive(source, tmp_path / "out")
    slices = slices_of(tmp_path / "out")
    originals = series.make_series(N)
    for found, original in zip(slices, originals, strict=True):
        assert found.StudyInstanceUID == original.StudyInstanceUID
        assert found.FrameOfReferenceUID == original.FrameOfReferenceUID
        (item,) = found.SourceImageSequence
        assert item.ReferencedSOPInstanceUID == original.SOPInstanceUID
        assert item.ReferencedSOPClassUID == original.SOPClassUID
        purpose = item.PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121320", "DCM")
        assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    new = {s.SOPInstanceUID for s in slices} | {slices[0].SeriesInstanceUID}
    assert len(new) == N + 1
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in new)
    derive(source, tmp_path / "again")
    assert slices_of(tmp_path / "again")[0].SeriesInstanceUID != slices[0].SeriesInstanceUID


def test_what_the_source_lacks_is_made_up_or_blank(tmp_path):
    slices = series.make_series(N)
    for each in slices:
        for keyword in ("FrameOfReferenceUID", "SliceThickness", "AcquisitionNumber"):
            delattr(each, keyword)
        del each.SeriesNumber
    derive(series.write_series(tmp_path / "in", slices), tmp_path / "out")
    found = slices_of(tmp_path / "out")
    assert len({each.FrameOfReferenceUID for each in found}) == 1
    assert found[0].FrameOfReferenceUID.is_valid
    for keyword in ("SliceThickness", "AcquisitionNumber", "SeriesNumber", "KVP"):
        assert found[0][keyword].value is None
    assert (found[0].WindowCenter, found[0].WindowWidth) == (40, 400)


def test_what_helps_and_tells_nothing_is_kept(tmp_path):
    slices = series.make_series(N)
    for each in slices:
        each.KVP, each.PatientPosition = 120, "FFS"
        each.WindowCenter, each.WindowWidth = [300, 40], [1500, 400]
    derive(series.write_series(tmp_path / "in", slices), tmp_path / "out")
    found = slices_of(tmp_path / "out")[0]
    assert (found.KVP, found.PatientPosition, found.AcquisitionNumber) == (120, "FFS", 1)
    assert (found.WindowCenter, found.WindowWidth) == (300, 1500)


def test_earlier_losses_stay_reported(tmp_path):
    slices = series.make_series(N)
    for each in slices:
        each.LossyImageCompression = "01"
        each.LossyImageCompressionRatio = "9.5"
        each.LossyImageCompressionMethod = "ISO_15444_1"
    derive(series.write_series(tmp_path / "in", slices), tmp_path / "out")
    found = slices_of(tmp_path / "out")[0]
    assert list(found.LossyImageCompressionRatio) == [9.5, 16]
    assert list(found.LossyImageCompressionMethod) == ["ISO_15444_1", "CT_VAE_KL"]


@pytest.mark.parametrize(
    ("kind", "dtype", "method", "ratio"),
    [
        ("mean", "int16", "CT_VAE_KL", 1.0),
        ("mean", "float32", "CT_VAE_KL", 0.5),
        ("codes", "uint16", "CT_VAE_VQ", 1.0),
        ("codes", "int32", "CT_VAE_VQ", 0.5),
    ],
)
def test_the_ratio_is_that_of_the_stored_numbers(kind, dtype, method, ratio):
    from ct_vae.latent import QuantizationRecord

    latent = latent_of(kind, quantisation=QuantizationRecord(dtype=dtype))
    found = Derivation.of(latent, ct_volume())
    values = latent.array.size
    assert found.ratio == pytest.approx(np.prod(latent.record.source.grid.shape) / values * ratio)
    assert found.method == method
    assert "not for diagnosis" in found.description
    assert "decoded in" not in found.description
    volume = replace(ct_volume(), source={DECODING: {"precision": "tf32"}})
    assert Derivation.of(latent, volume).description.endswith(", decoded in tf32")


@pytest.fixture
def marked(tmp_path):
    slices = [mark_everything(each) for each in series.make_series(N)]
    assert len(slices[0]) > 900
    return series.write_series(tmp_path / f"{series.MARK} folder", slices)


def test_nothing_identifying_comes_through(marked, tmp_path):
    derive(marked, tmp_path / "out")
    kept = [f"1.2.{series.UID_MARK}.{n}" for n in (1, 3)]
    for path in sorted((tmp_path / "out").iterdir()):
        content = path.read_bytes()
        source = pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID
        for uid in (str(source), *kept):
            assert uid.encode() in content
            content = content.replace(uid.encode(), b"")
        for mark in MARKS:
            assert mark.encode() not in content


def test_who_and_when_are_blank_and_said_to_be_removed(source, tmp_path):
    derive(source, tmp_path / "out")
    found = slices_of(tmp_path / "out")[0]
    for keyword in (*TYPE_2["Patient"], *TYPE_2["General Study"]):
        assert found[keyword].is_empty, keyword
    assert found.PatientIdentityRemoved == "YES"
    assert found.DeidentificationMethod
    assert found.ContentDate == found.InstanceCreationDate
    assert abs((datetime.date.today() - _date(found.ContentDate)).days) <= 1


def _date(text):
    return datetime.datetime.strptime(text, "%Y%m%d").date()


def test_pixels_with_writing_in_them_are_not_said_to_be_clean(tmp_path):
    slices = series.make_series(N)
    for each in slices:
        each.BurnedInAnnotation = "YES"
    derive(series.write_series(tmp_path / "in", slices), tmp_path / "out")
    found = slices_of(tmp_path / "out")[0]
    assert (found.BurnedInAnnotation, found.PatientIdentityRemoved) == ("YES", "NO")
    assert "DeidentificationMethod" not in found


def test_who_and_when_are_copied_when_asked_for(tmp_path):
    slices = series.make_series(N)
    for each in slices:
        each.SpecificCharacterSet = "ISO_IR 100"
        each.PatientName = "Müller^Jörg"
        each.PatientAge, each.PatientWeight = "064Y", "81.5"
        each.StudyTime = "101112"
    derive(series.write_series(tmp_path / "in", slices), tmp_path / "out", keep_identity=True)
    found = slices_of(tmp_path / "out")[0]
    assert found.PatientName == "Müller^Jörg"
    for keyword in ("PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert found[keyword].value == slices[0][keyword].value
    assert (found.PatientAge, found.PatientWeight, found.StudyTime) == ("064Y", 81.5, "101112")
    assert found.StudyDescription == slices[0].StudyDescription
    assert "PatientIdentityRemoved" not in found
    assert "InstitutionName" not in found


def test_a_source_without_identity_stays_so(tmp_path):
    slices = series.make_series(N)
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113100", "DCM", "Basic"
    for each in slices:
        each.PatientIdentityRemoved, each.DeidentificationMethod = "YES", ["first", "second"]
        each.DeidentificationMethodCodeSequence = [code]
    derive(series.write_series(tmp_path / "in", slices), tmp_path / "out", keep_identity=True)
    found = slices_of(tmp_path / "out")[0]
    assert found.PatientIdentityRemoved == "YES"
    assert list(found.DeidentificationMethod) == ["first", "second"]
    assert found.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
