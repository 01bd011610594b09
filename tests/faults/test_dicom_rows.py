"""Rows 18 to 27 of the list of faults: DICOM series."""

import re

import numpy as np
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from ct_vae.errors import InputError, NoInputError
from ct_vae.io import ReadOptions, read_volume, scan_series
from ct_vae.volume import volume_sha256
from tests.cli._run import call
from tests.faults._doors import accept, left_in, refuse
from tests.io._series import (
    CT_IMAGE,
    compress,
    file_meta,
    hounsfield,
    make_series,
    make_slice,
    save,
    set_stored,
    write_series,
)
from tests.io.dicom.codecs.test_compressed_frames import HTJ2K, JPEG_LS, by_itk

CONSENT = "--resample-irregular"


def folder_of(slices, place):
    return write_series(place / "study", slices)


def test_18_a_missing_slice_is_refused_with_its_place(model_folder, tmp_path):
    slices = make_series(8)
    del slices[3]
    folder = folder_of(slices, tmp_path)
    refuse(model_folder, folder, 4, "a slice is missing", "105.000 to 110.000", CONSENT)
    accept(model_folder, folder, CONSENT)
    assert read_volume(folder, ReadOptions(resample_irregular=True)).grid.shape[2] == 8


def test_19_a_doubled_slice_is_dropped_if_it_is_the_same_and_else_refused(model_folder, tmp_path):
    slices, double = make_series(6), make_series(6)[2]
    double.SOPInstanceUID = double.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
    folder = folder_of([*slices, double], tmp_path)
    record = accept(model_folder, folder)
    assert record["warnings"] == ["1 exact duplicates of slices were ignored"]
    np.testing.assert_array_equal(read_volume(folder).voxels[:, ::-1], hounsfield(6)[:, ::-1])
    set_stored(double, np.full((12, 10), 1024 + 77))
    save(double, folder / "zz")
    (folder / "zz").replace(folder / "045")
    refuse(model_folder, folder, 4, "105")


def test_20_uneven_spacing_needs_consent(model_folder, tmp_path):
    slices = make_series(positions=[0, 2.5, 5, 7.5, 11.2, 13.7, 16.2, 18.7])
    folder = folder_of(slices, tmp_path)
    refuse(model_folder, folder, 4, "uneven", "107.500 to 111.200", CONSENT)
    accept(model_folder, folder, CONSENT)


def test_21_a_tilted_gantry_needs_consent_and_padding_stays_air(model_folder, tmp_path):
    steps = np.arange(8)[:, None] * [0, 1.0, 2.5]
    slices = make_series(positions=np.array([-12.5, -20.25, 100]) + steps)
    for each in slices:
        stored = np.frombuffer(each.PixelData, "<i2").reshape(12, 10).copy()
        stored[:, 0] = -2000 + 1024
        set_stored(each, stored)
    folder = folder_of(slices, tmp_path)
    refuse(model_folder, folder, 4, "tilted by 21.80 degrees", CONSENT)
    accept(model_folder, folder, CONSENT)
    volume = read_volume(folder, ReadOptions(resample_irregular=True))
    assert volume.grid.shear < 1e-6
    # Padding is not mixed into its neighbours.
    assert volume.voxels.min() >= -1024


def test_22_series_orientations_and_phases_become_cases_of_their_own(model_folder, tmp_path):
    folder = tmp_path / "study"
    turned = (0, 1.0, 0, 0, 0, -1.0)
    kinds = [make_series(5), make_series(5, seed=1), make_series(5, seed=2, orientation=turned)]
    kinds.append(make_series(5, seed=3))
    kinds.append(make_series(5, seed=4))
    for k, slices in enumerate(kinds):
        for each in slices:
            # The third is a second orientation, the last two are phases of one series.
            each.SeriesInstanceUID = f"1.2.3.{(0, 1, 0, 3, 3)[k]}"
            each.SeriesNumber = (0, 1, 0, 3, 3)[k]
            each.AcquisitionNumber = k + 1 if k > 2 else 1
            name = f"1.2.8.{k}.{each.InstanceNumber}"
            each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = name
        write_series(folder, slices, lambda i, k=k: f"{k}_{i}")
    out = tmp_path / "out"
    assert call("encode", model_folder, folder, "-o", out)[0] == 0
    names = {name for name in left_in(out) if name.endswith("_latent.nii.gz")}
    assert len(names) == 5
    assert {name.split("/")[-1][:4] for name in names} == {"s000", "s001", "s003"}
    expected = {np.asarray(hounsfield(5, seed=k)).astype(np.int64).sum() for k in range(5)}
    found = {int(each.read().voxels.astype(np.int64).sum()) for each in scan_series(folder)}
    assert found == {int(total) for total in expected}


# What lies beside a CT series and has slices enough to be taken for one, and why it is not.
OTHERS = {
    "localizer": (CT_IMAGE, "CT", "LOCALIZER", "a localizer (scout view)"),
    "dose sheet": (CT_IMAGE, "CT", "DOSE_INFO", "a screen capture or dose report"),
    "report": (
        "1.2.840.10008.5.1.4.1.1.88.67",
        "SR",
        "AXIAL",
        "modality SR: a structured report, such as a dose report",
    ),
    "mask": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "AXIAL", "modality SEG: a segmentation"),
}


def other_series(sop_class, modality, kind, number):
    """Slices of plausible pixels that say that they are no CT image."""
    slices = make_series(6, seed=number)
    for k, each in enumerate(slices):
        each.SOPClassUID = each.file_meta.MediaStorageSOPClassUID = sop_class
        each.Modality, each.ImageType = modality, ["ORIGINAL", "PRIMARY", kind]
        each.SeriesInstanceUID, each.SeriesNumber = f"1.2.5.{number}", number
        name = f"1.2.6.{number}.{k}"
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = name
    return slices


def test_23_what_is_no_ct_volume_is_skipped_with_its_reason(model_folder, tmp_path):
    folder = folder_of(make_series(6), tmp_path)
    for number, (sop_class, modality, kind, _) in enumerate(OTHERS.values(), 10):
        slices = other_series(sop_class, modality, kind, number)
        write_series(folder, slices, lambda k, n=number: f"{n}_{k}")
    out = tmp_path / "out"
    code, text = call("encode", model_folder, folder, "-o", out)
    assert code == 0, text
    found = {each.number: each for each in scan_series(folder)}
    for number, (_, _, _, reason) in enumerate(OTHERS.values(), 10):
        assert (found[number].verdict, found[number].reason) == ("skipped", reason)
        assert f"skipped: {reason}" in text
        with pytest.raises(NoInputError, match="is not a CT volume: " + re.escape(reason)):
            read_volume(found[number].path)
    name = f"{found[3].id}_latent"
    assert {path.name for path in out.rglob("*.*")} == {f"{name}.nii.gz", f"{name}.json"}
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield(6))


def test_23_captures_without_a_whole_geometry_are_skipped(model_folder, tmp_path):
    folder = folder_of(make_series(6), tmp_path)
    slices = other_series("1.2.840.10008.5.1.4.1.1.7", "CT", "AXIAL", 20)
    for each in slices:
        each.ImagePositionPatient = [0, 0, 0]
    write_series(folder, slices, lambda k: f"capture{k}")
    record = accept(model_folder, folder)
    assert record["source"]["grid"]["shape"] == [10, 12, 6]
    told = {each.number: each.reason for each in scan_series(folder)}
    assert told == {3: "", 20: "a secondary capture, not a CT image"}


def test_23_captures_with_the_geometry_of_a_volume_need_their_own_consent(model_folder, tmp_path):
    folder = folder_of(other_series("1.2.840.10008.5.1.4.1.1.7", "CT", "AXIAL", 20), tmp_path)
    refuse(model_folder, folder, 4, "a secondary capture, not a CT image", "--any-sop-class")
    refuse(model_folder, folder, 4, "--any-sop-class", options=["--force"])
    accept(model_folder, folder, "--any-sop-class")


def test_23_a_scout_within_the_series_is_no_slice_of_it(model_folder, tmp_path):
    folder = folder_of(make_series(6), tmp_path)
    # It would lengthen the volume by one slice in step with the others.
    scout = make_series(7, seed=5)[6]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, folder / "scout")
    record = accept(model_folder, folder)
    assert record["source"]["grid"]["shape"] == [10, 12, 6]
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield(6))
    (told,) = volume.warnings
    assert told.endswith("was skipped: a localizer (scout view)")


def test_24_rescale_is_taken_slice_by_slice_and_never_guessed(model_folder, tmp_path):
    slices, expected = make_series(6), hounsfield(6)
    for k, each in enumerate(slices):
        slope = (1, 2)[k % 2]
        each.RescaleSlope, each.RescaleIntercept = slope, -1024 - k
        each.PixelRepresentation = k % 2
        stored = (expected[:, :, k].T.astype(np.int64) + 1024 + k) // slope
        set_stored(each, stored)
        expected[:, :, k] = (stored * slope - 1024 - k).T
    folder = folder_of(slices, tmp_path)
    accept(model_folder, folder)
    np.testing.assert_array_equal(read_volume(folder).voxels, expected)
    del slices[2].RescaleSlope
    write_series(folder, slices)
    refuse(model_folder, folder, 4, "1 of 6 slices lack RescaleSlope", "--assume-hu")


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_25_slices_without_a_place_are_refused(model_folder, tmp_path, tag):
    slices = make_series(6)
    for each in slices[2:4]:
        delattr(each, tag)
    refuse(model_folder, folder_of(slices, tmp_path), 4, f"2 of 6 slices lack {tag}")


def test_25_the_order_of_files_and_numbers_is_never_used(model_folder, tmp_path):
    slices = make_series(6)
    for each in slices:
        del each.InstanceNumber
    folder = write_series(tmp_path / "study", slices, lambda k: f"{(k * 5 + 2) % 6}")
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield(6))
    for each in slices:
        each.ImagePositionPatient = [0, 0, 0]
    folder = write_series(tmp_path / "heap" / "study", slices)
    refuse(model_folder, folder, 4)


def test_26_a_cut_slice_is_named_and_other_files_are_passed_over(model_folder, tmp_path):
    folder = folder_of(make_series(6), tmp_path)
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "thumbs").write_bytes(b"\x89PNG\r\n")
    accept(model_folder, folder)
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield(6))
    cut = folder / "010"
    cut.write_bytes(cut.read_bytes()[:-50])
    refuse(model_folder, folder, 4, "slice 2 of 6, at 102.500 mm", "truncated", "190 of 240 bytes")


@pytest.mark.parametrize("end", ["003", "038"])
def test_26_an_end_slice_whose_header_is_cut_is_missed_and_named(model_folder, tmp_path, end):
    # Nothing in the places of the other slices tells that one is missing.
    folder = folder_of(make_series(6), tmp_path)
    cut = folder / end
    # Twelve bytes lead to the pixels.
    cut.write_bytes(cut.read_bytes()[: -240 - 12 - 3])
    cause = f"a slice may be missing: in the same folder, the file {end} is truncated"
    with pytest.raises(InputError, match=cause):
        read_volume(folder)
    out = tmp_path / "out"
    code, text = call("encode", model_folder, folder, "-o", out)
    # The slices that are whole and the file that is not are two cases, both refused.
    assert code == 8, text
    assert cause in text
    assert f": the file {end} is truncated: it ends within its header" in text
    assert left_in(out) == {"failures.jsonl"}


def test_26_a_dicomdir_leads_nowhere(model_folder, tmp_path):
    secret = save(make_series(1, seed=9)[0], tmp_path / "secret")
    folder = folder_of(make_series(6), tmp_path)
    index, record = Dataset(), Dataset()
    record.DirectoryRecordType = "IMAGE"
    # pydicom warns of such a name.
    with disable_value_validation():
        record.ReferencedFileID = ["..", secret.name]
    index.DirectoryRecordSequence = Sequence([record])
    meta = file_meta(MediaStorageDirectoryStorage, "1.2.3.4", "1.2.840.10008.1.2.1")
    index.file_meta = meta
    dcmwrite(folder / "DICOMDIR", index, enforce_file_format=True)
    assert b"secret" in (folder / "DICOMDIR").read_bytes()
    accept(model_folder, folder)
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield(6))
    assert not any(secret in each.files for each in scan_series(folder))


def rle(dataset):
    """An encoder: what pydicom makes of a slice."""
    rle.syntax = RLELossless
    return RLELosslessEncoder.encode(dataset, index=0)


@pytest.mark.parametrize("encode", [rle, by_itk("JPEG2000"), by_itk("JPEG")])
def test_27_compressed_slices_are_decoded_to_the_bit(model_folder, tmp_path, encode):
    slices = make_series(5)
    for each in slices:
        compress(each, "1.2.3", encode)
        each.file_meta.TransferSyntaxUID = encode.syntax
    folder = folder_of(slices, tmp_path)
    record = accept(model_folder, folder)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield(5))
    assert record["source"]["sha256"] == volume_sha256(volume)


@pytest.mark.parametrize(("syntax", "frame"), [("80", JPEG_LS), ("201", HTJ2K)])
def test_27_one_compressed_slice_among_others_is_decoded_to_the_bit(tmp_path, syntax, frame):
    slices, expected = make_series(5), hounsfield(5)
    y, x = np.indices((12, 10))
    expected[:, :, 2] = ((x * 37 + y * 91) % 1500 + 300 - 1024).T
    slices[2].PixelRepresentation = 0
    compress(slices[2], f"1.2.840.10008.1.2.4.{syntax}", lambda _: frame)
    np.testing.assert_array_equal(read_volume(folder_of(slices, tmp_path)).voxels, expected)


@pytest.mark.parametrize(
    ("syntax", "frame", "cause"),
    [
        (JPEG2000Lossless, b"\xff\x4f\xff\x51 no image", "are not a JPEG 2000 image"),
        (JPEGLSLossless, JPEG_LS[:40], "are not a JPEG image"),
        (JPEGLSLossless, JPEG_LS[:-20], "are cut short"),
        (JPEGLSLossless, JPEG_LS.replace(b"\0\x0c\0\x0a", b"\0\x0a\0\x0c"), "has 10 rows, 12"),
        (RLELossless, b"\1\0\0\0\x40" + bytes(80), "RLE-compressed pixel data are damaged"),
        (HTJ2KLossless, HTJ2K.replace(b"\xff\x90", b"\xff\x30"), "pip install pylibjpeg"),
        # Lossy MPEG-2 is in no decoder of still images.
        (MPEG2MPML, b"\0\0\1\xb3" * 20, "transfer syntax 1.2.840.10008.1.2.4.100"),
    ],
)
def test_27_what_cannot_be_decoded_is_an_error_of_the_case(
    model_folder, tmp_path, syntax, frame, cause, capfd
):
    slices = make_series(5)
    compress(slices[2], syntax, lambda _: frame)
    refuse(model_folder, folder_of(slices, tmp_path), 4, "slice 3 of 5, at 105.000 mm", cause)


def test_one_slice_is_read_only_when_it_is_named(model_folder, tmp_path):
    plane = hounsfield(1)[:, :, 0].T
    folder = folder_of([make_slice(0, plane, (0, 0, 0))], tmp_path / "deep")
    out = tmp_path / "out"
    code, text = call("encode", model_folder, tmp_path / "deep", "-o", out)
    assert code == 3
    assert "only 1 slice, a volume has at least 4" in text
    assert not out.exists() or left_in(out) <= {"failures.jsonl"}
    record = accept(model_folder, folder)
    assert record["source"]["grid"]["shape"] == [10, 12, 1]
    assert record["warnings"] == ["is one slice; its thickness of 7 mm is the spacing"]
