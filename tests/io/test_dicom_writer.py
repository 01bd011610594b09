import datetime
import os
import shutil
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.datadict import DicomDictionary

from ct_vae.errors import ConfigError, InputError, NoInputError, OutputError
from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, read_volume, volume_sha256, write_volume
from ct_vae.io.dicom_derived import Derivation
from ct_vae.io.dicom_sources import opened_series
from ct_vae.io.dicom_writer import write_dicom
from ct_vae.latent import GridRecord, SourceRecord
from ct_vae.volume import Volume
from tests._asserts import assert_only_files, assert_same_place
from tests.io import _series as series
from tests.io._samples import CODES, Disk, latent_of

DERIVATION = Derivation(16.0, "CT_VAE_KL", "lossy, derived, not for diagnosis: tested")
N = 5
ANGLE = np.deg2rad(20)
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "head down": (-1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (np.cos(ANGLE), np.sin(ANGLE), 0, -np.sin(ANGLE), np.cos(ANGLE), 0),
}

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
    "General Series": ["SeriesNumber", "PatientPosition"],
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


def record_of(volume, kind="dicom"):
    return SourceRecord(
        sha256=volume_sha256(volume),
        grid=GridRecord.of(volume.grid),
        dtype="int16",
        format=kind,
    )


def decoded(grid, seed=0):
    """What a model might have made: fractions of HU, halves among them."""
    rng = np.random.default_rng(seed)
    voxels = (rng.integers(-2400, 4000, grid.shape) / 2).astype(np.float32)
    return Volume(voxels, grid, derived=True)


def derive(source, out, options=None, hu_offset=0.0, **wishes):
    """Write a derived series of the series in ``source``, as decoding does."""
    volume = read_volume(source, options)
    made = decoded(volume.grid)
    with opened_series([source], hu_offset) as found:
        write_dicom(made, found.template_of(record_of(volume)), out, DERIVATION, **wishes)
    return made


def slices_of(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.fixture
def source(tmp_path):
    return series.write_series(tmp_path / "source", series.make_series(N))


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_pydicom_and_simpleitk_find_hu_and_geometry_of_the_source(tmp_path, orientation):
    originals = series.make_series(N, orientation=orientation)
    source = series.write_series(tmp_path / "source", originals)
    made = derive(source, tmp_path / "out")
    expected = np.rint(made.voxels)
    slices = slices_of(tmp_path / "out")
    for k, (found, original) in enumerate(zip(slices, originals, strict=True)):
        plane = found.pixel_array * float(found.RescaleSlope) + float(found.RescaleIntercept)
        np.testing.assert_array_equal(plane, expected[:, :, k].T)
        assert list(found.ImagePositionPatient) == pytest.approx(
            list(original.ImagePositionPatient), abs=1e-9
        )
        assert list(found.ImageOrientationPatient) == pytest.approx(list(orientation), abs=1e-9)
        assert found.PixelSpacing == original.PixelSpacing
        assert found.SliceThickness == original.SliceThickness
        assert found.InstanceNumber == k + 1
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, expected)
    grid = Grid.from_lps(
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )
    assert_same_place(grid, made.grid, 1e-4)


def test_it_reads_as_the_nifti_file_of_the_same_volume_reads(source, tmp_path):
    made = derive(source, tmp_path / "out")
    write_volume(made, tmp_path / "a.nii")
    again, nifti = read_volume(tmp_path / "out"), read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(again.voxels, nifti.voxels)
    assert again.voxels.dtype == nifti.voxels.dtype == np.int16
    assert again.grid == made.grid


@pytest.mark.parametrize("end", [-32768, 32767])
def test_the_whole_range_of_int16_comes_through(source, tmp_path, end):
    volume = read_volume(source)
    made = decoded(volume.grid)
    made.voxels[1, 2, 3] = end
    with opened_series([source]) as found:
        template = found.template_of(record_of(volume))
        write_dicom(made, template, tmp_path / "out", DERIVATION)
        assert slices_of(tmp_path / "out")[3].pixel_array[2, 1] == end
        made.voxels[1, 2, 3] = np.nan if end < 0 else 32768
        with pytest.raises(InputError, match="cannot be stored as int16"):
            write_dicom(made, template, tmp_path / "other", DERIVATION)
    assert not (tmp_path / "other").exists()


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


def test_earlier_losses_stay_told(tmp_path):
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
    from ct_vae.latent import QuantisationRecord

    latent = latent_of(kind, quantisation=QuantisationRecord(dtype=dtype))
    found = Derivation.of(latent)
    values = latent.array.size
    assert found.ratio == pytest.approx(np.prod(latent.record.source.grid.shape) / values * ratio)
    assert found.method == method
    assert "not for diagnosis" in found.description


# What else than identity such an element could change, or what it is by its standard.
_MEANT = {
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "ImageType", "RescaleType"),
    *("PhotometricInterpretation", "TransferSyntaxUID"),
}
_TIME_MARK = "071139.135791"
_VALUES = {
    **dict.fromkeys(("PN", "LO", "LT", "ST", "UT", "UC", "SH", "AE", "UR"), series.MARK),
    "DA": series.DATE_MARK,
    "DT": series.DATE_MARK,
    "TM": _TIME_MARK,
    "UI": f"1.2.{series.UID_MARK}.9",
    "AS": "093Y",
}


def mark_everything(dataset):
    """A mark in every name, date, UID and text of the dictionary that the series lacks."""
    for tag, (kind, *_, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        usable = keyword and not retired and group > 0x0002 and keyword not in _MEANT
        if kind in _VALUES and usable and keyword not in dataset:
            dataset.add_new(tag, kind, _VALUES[kind])
    block = dataset.private_block(0x0011, f"{series.MARK} maker", create=True)
    block.add_new(0x01, "LO", series.MARK)
    dataset.RequestAttributesSequence = [pydicom.Dataset()]
    dataset.RequestAttributesSequence[0].RequestedProcedureDescription = series.MARK
    return dataset


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
        for mark in (series.MARK, series.DATE_MARK, series.UID_MARK, _TIME_MARK, "093Y"):
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


def test_a_resampled_source_is_followed_without_references(tmp_path):
    steps = np.array([0, 2.5, 5, 10, 12.5])
    source = series.write_series(tmp_path / "in", series.make_series(N, positions=steps))
    made = derive(source, tmp_path / "out", ReadOptions(resample_irregular=True))
    slices = slices_of(tmp_path / "out")
    assert len(slices) == made.grid.shape[2] == 6
    assert not any("SourceImageSequence" in each for each in slices)
    assert "resampled" in slices[0].DerivationDescription
    assert_same_place(read_volume(tmp_path / "out").grid, made.grid)


def test_frames_of_an_enhanced_image_are_referred_to_by_number(tmp_path):
    order = [3, 0, 4, 1, 2]
    source = series.save(series.enhanced(N, order=order), tmp_path / "in" / "a")
    derive(source, tmp_path / "out")
    for k, found in enumerate(slices_of(tmp_path / "out")):
        item = found.SourceImageSequence[0]
        assert item.ReferencedSOPClassUID == series.ENHANCED_CT
        assert item.ReferencedFrameNumber == order.index(k) + 1
        assert found.SOPClassUID == series.CT_IMAGE


def test_the_source_is_found_among_others_by_its_voxels(tmp_path):
    for seed in (1, 2):
        slices = series.make_series(N, seed=seed)
        for each in slices:
            each.SeriesInstanceUID += f".{seed}"
            each.SOPInstanceUID += f".{seed}"
        series.write_series(tmp_path / "both" / str(seed), slices)
    for seed in (1, 2):
        volume = read_volume(tmp_path / "both" / str(seed))
        with opened_series([tmp_path / "both"]) as found:
            template = found.template_of(record_of(volume))
        assert all(each.instance.endswith(f".{seed}") for each in template.slices)


def test_another_series_is_refused_in_one_line(source, tmp_path):
    volume = read_volume(source)
    elsewhere = Grid(volume.grid.shape, volume.grid.affine + np.diag([0, 0, 1e-9, 0]))
    with opened_series([source]) as found:
        with pytest.raises(InputError, match="no CT series has the grid of the source") as error:
            found.template_of(record_of(Volume(volume.voxels, elsewhere)))
        assert "\n" not in str(error.value)
        changed = volume.voxels.copy()
        changed[0, 0, 0] += 1
        with pytest.raises(InputError, match="holds other voxels"):
            found.template_of(record_of(Volume(changed, volume.grid)))
        with pytest.raises(InputError, match="nifti format"):
            found.template_of(record_of(Volume(changed, elsewhere), "nifti"))


def test_a_volume_elsewhere_is_refused(source, tmp_path):
    volume = read_volume(source)
    moved = decoded(Grid(volume.grid.shape, volume.grid.affine * [[1], [1], [1.5], [1]]))
    with opened_series([source]) as found:
        template = found.template_of(record_of(volume))
    with pytest.raises(InputError, match="does not lie where the source does"):
        write_dicom(moved, template, tmp_path / "out", DERIVATION)


def test_folders_without_ct_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInputError, match="no CT series"), opened_series([tmp_path / "empty"]):
        pass
    with pytest.raises(NoInputError, match="no such file"), opened_series([tmp_path / "absent"]):
        pass
    slices = series.make_series(N)
    del slices[0].PixelSpacing
    broken = series.write_series(tmp_path / "broken", slices)
    with pytest.raises(InputError, match="PixelSpacing"), opened_series([broken]):
        pass


def test_an_existing_folder_is_kept_unless_it_may_be_replaced(source, tmp_path):
    out = tmp_path / "out"
    derive(source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ConfigError, match="--overwrite"):
        derive(source, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    derive(source, out, overwrite=True)
    assert {p.name for p in out.iterdir()} == before.keys()
    assert slices_of(out)[0].SOPInstanceUID.encode() not in before["0001.dcm"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        derive(source, out, overwrite=True)
    with pytest.raises(ConfigError, match="something else"):
        derive(source, source, overwrite=True)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_fault_at_any_operation_leaves_old_or_new(tmp_path, disk, overwrite):
    slices = series.make_series(4, sides=(8, 6))
    source = series.write_series(tmp_path / "in", slices)
    volume, out = read_volume(source), tmp_path / "out"
    with opened_series([source]) as found:
        template = found.template_of(record_of(volume))

    def write(seed):
        made = decoded(volume.grid, seed)
        write_dicom(made, template, out / "a", DERIVATION, overwrite=overwrite)

    def begin():
        disk.heal()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if overwrite:
            write(1)
        return contents(out)

    begin()
    before = dict(disk.counts)
    write(2)
    counts = {op: n - before[op] for op, n in disk.counts.items()}
    assert counts["write"] >= 4
    assert counts["fsync"] >= 4 + 2
    for operation, number in [(op, n) for op, count in counts.items() for n in range(1, count + 1)]:
        old = begin()
        disk.fail_at(operation, number, CODES[0])
        with pytest.raises(OutputError, match="cannot write"):
            write(2)
        # The last sync comes after the rename.
        if (operation, number) == ("fsync", counts["fsync"]):
            assert len(contents(out / "a")) == 4
        else:
            assert contents(out) == old
            assert [path.name for path in out.iterdir()] == ["a"] * overwrite


_KILLED = """
import os, sys
from tests.io.test_dicom_writer import derive
from pathlib import Path
count = 0
real = os.{moment}
def kill(*args):
    global count
    count += 1
    if count == {number}:
        os.kill(os.getpid(), 9)
    return real(*args)
os.{moment} = kill
derive(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number", "older"),
    [("write", 3, False), ("fsync", 2, True), ("replace", 1, True), ("replace", 2, True)],
)
def test_kill_leaves_no_half_folder_and_the_next_write_cleans_up(
    source, tmp_path, moment, number, older
):
    out = tmp_path / "out"
    if older:
        derive(source, out / "a")
    before = contents(out)
    script = _KILLED.format(moment=moment, number=number)
    done = subprocess.run(
        [sys.executable, "-c", script, os.fspath(source), os.fspath(out / "a")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / "a").exists() == (older and (moment, number) != ("replace", 2))
    if (out / "a").exists():
        assert before.items() <= contents(out).items()
    if (moment, number) == ("replace", 2):
        # What had been put aside comes back before anything else is done.
        with pytest.raises(OutputError, match="exists already"):
            derive(source, out / "a")
        assert contents(out) == before
    derive(source, out / "a", overwrite=True)
    assert_only_files(out, {f"a/{k:04d}.dcm" for k in range(1, N + 1)})
