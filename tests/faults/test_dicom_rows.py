"""Rows 18 to 27 of the list of faults: DICOM series."""

import numpy as np
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, MediaStorageDirectoryStorage, RLELossless

from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.cli._run import call
from tests.faults._doors import accept, left_in, refuse
from tests.io._series import (
    compress,
    file_meta,
    hounsfield,
    make_series,
    make_slice,
    save,
    set_stored,
    write_series,
)

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
    assert record["warnings"] == ["1 slices that repeat others exactly were dropped"]
    np.testing.assert_array_equal(read_volume(folder).voxels[:, ::-1], hounsfield(6)[:, ::-1])
    set_stored(double, np.full((12, 10), 1024 + 77))
    save(double, folder / "zz")
    (folder / "zz").replace(folder / "045")
    refuse(model_folder, folder, 4, "105")


def test_20_uneven_spacing_needs_consent(model_folder, tmp_path):
    slices = make_series(positions=[0, 2.5, 5, 7.5, 10.7, 13.2, 15.7, 18.2])
    folder = folder_of(slices, tmp_path)
    refuse(model_folder, folder, 4, "uneven", "107.500 to 110.700", CONSENT)
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


def test_23_what_is_no_ct_volume_is_skipped_with_its_reason(model_folder, tmp_path):
    folder = folder_of(make_series(6), tmp_path)
    kinds = {
        "localizer": ("1.2.840.10008.5.1.4.1.1.2", "CT", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "dose": ("1.2.840.10008.5.1.4.1.1.88.67", "SR", None),
        "capture": ("1.2.840.10008.5.1.4.1.1.7", "CT", ["DERIVED", "SECONDARY"]),
        "mask": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", ["DERIVED", "PRIMARY"]),
    }
    for k, (name, (sop, modality, kind)) in enumerate(kinds.items()):
        other = make_series(1)[0]
        other.SOPClassUID, other.Modality = sop, modality
        other.file_meta.MediaStorageSOPClassUID = sop
        other.ImageType = kind
        other.SeriesInstanceUID = f"1.2.5.{k}"
        save(other, folder / name)
    out = tmp_path / "out"
    code, text = call("encode", model_folder, folder, "-o", out)
    assert code == 0
    assert text.count("skipped") >= 4
    assert len([name for name in left_in(out) if name.endswith(".nii.gz")]) == 1
    fates = {each.verdict for each in scan_series(folder)}
    assert fates == {"ok", "skipped"}


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
    cut = folder / "010"
    cut.write_bytes(cut.read_bytes()[:-50])
    refuse(model_folder, folder, 4, "102.5", "truncated")


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


def test_27_compressed_slices_are_decoded_to_the_bit(model_folder, tmp_path):
    slices = make_series(5)
    for each in slices:
        compress(each, RLELossless, lambda d: RLELosslessEncoder.encode(d, index=0))
    folder = folder_of(slices, tmp_path)
    accept(model_folder, folder)
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield(5))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, "1.2.840.10008.1.2.4.201"])
def test_27_what_cannot_be_decoded_is_an_error_of_the_case(model_folder, tmp_path, syntax, capfd):
    slices = make_series(5)
    compress(slices[2], syntax, lambda _: b"\xff\x4f\xff\x51 no such image")
    refuse(model_folder, folder_of(slices, tmp_path), 4, "105.000")


def test_27_a_missing_codec_is_named(model_folder, tmp_path):
    slices = make_series(5)
    # Lossy MPEG-2 is in no decoder of still images.
    compress(slices[2], "1.2.840.10008.1.2.4.100", lambda _: b"\0\0\1\xb3" * 20)
    refuse(model_folder, folder_of(slices, tmp_path), 4, "1.2.840.10008.1.2.4.100")


def test_one_slice_is_no_volume(model_folder, tmp_path):
    plane = hounsfield(1)[:, :, 0].T
    folder = folder_of([make_slice(0, plane, (0, 0, 0))], tmp_path)
    out = tmp_path / "out"
    assert call("encode", model_folder, folder, "-o", out)[0] in {3, 4}
    assert left_in(out) <= {"failures.jsonl"}
