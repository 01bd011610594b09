import json
import shutil
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from ct_vae.inference.codec import load_codec
from ct_vae.io import ReadOptions, read_volume, write_latent
from tests._asserts import assert_same_place
from tests.cli._run import call
from tests.io import _series as series

N = 6
TURN = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)
ANY = ReadOptions(force=True)


@pytest.fixture
def source(tmp_path):
    return series.write_series(tmp_path / "in" / "case", series.make_series(N))


@pytest.fixture
def dicom(model_folder, tmp_path):
    """Encode a source and decode it to DICOM; gives the folder of slices."""

    def run(source, *options, like=None, encoding=()):
        code, text = call("encode", model_folder, source, "-o", tmp_path / "latents", *encoding)
        assert code == 0, text
        code, text = decode(model_folder, tmp_path, like or source, *options)
        assert code == 0, text
        (folder,) = (tmp_path / "out").iterdir()
        return folder

    return run


def decode(model_folder, tmp_path, like, *options):
    return call(
        *("decode", model_folder, tmp_path / "latents", "-o", tmp_path / "out"),
        *("--format", "dicom", "--like", like, *options),
    )


def assert_equal_to_nifti(model_folder, tmp_path, folder):
    """Stored HU are those of the NIfTI file; the reader finds its place and its values."""
    call("decode", model_folder, tmp_path / "latents", "-o", tmp_path / "nifti")
    (file,) = (tmp_path / "nifti").iterdir()
    stored = np.asarray(nib.load(file).dataobj)
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    found = np.stack([s.pixel_array * s.RescaleSlope + s.RescaleIntercept for s in slices]).T
    np.testing.assert_array_equal(found, stored)
    again, nifti = read_volume(folder, ANY), read_volume(file, ANY)
    np.testing.assert_array_equal(again.voxels, nifti.voxels)
    assert_same_place(again.grid, nifti.grid, 1e-3)
    return again


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), TURN])
def test_a_series_comes_back_as_a_series(model_folder, tmp_path, dicom, orientation):
    originals = series.make_series(N, orientation=orientation)
    source = series.write_series(tmp_path / "in", originals)
    folder = dicom(source)
    assert folder.name.endswith("_decoded")
    assert [p.name for p in sorted(folder.iterdir())] == [f"{k:04d}.dcm" for k in range(1, N + 1)]
    again = assert_equal_to_nifti(model_folder, tmp_path, folder)
    assert again.grid == read_volume(source).grid
    assert any("result of lossy compression" in line for line in again.warnings)
    first = pydicom.dcmread(folder / "0001.dcm")
    assert first.LossyImageCompressionRatio == pytest.approx(
        12 * 10 * N / (4 * 3 * 3 * 2), rel=1e-3
    )
    assert first.DerivationDescription.startswith("lossy, derived, not for diagnosis")


@pytest.mark.slow
def test_a_real_series_comes_back(model_folder, tmp_path, dicom, real_data):
    source = tmp_path / "abdomen"
    source.mkdir()
    files = [p for p in sorted((real_data / "dicom" / "abdomen_512").rglob("*")) if p.is_file()]
    place = {p: pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2] for p in files}
    for path in sorted(files, key=place.get)[10:16]:
        shutil.copy(path, source)
    folder = dicom(source)
    again = assert_equal_to_nifti(model_folder, tmp_path, folder)
    assert again.grid == read_volume(source).grid
    assert again.voxels.shape == (512, 512, 6)
    references = {
        pydicom.dcmread(p).SourceImageSequence[0].ReferencedSOPInstanceUID for p in folder.iterdir()
    }
    assert references == {pydicom.dcmread(p).SOPInstanceUID for p in source.iterdir()}


def test_nothing_identifying_is_in_any_file_or_name(dicom, source, tmp_path):
    folder = dicom(source.rename(tmp_path / "in" / series.MARK))
    for path in (*folder.iterdir(), *(tmp_path / "latents").iterdir()):
        content = path.read_bytes()
        for mark in (series.MARK, series.DATE_MARK):
            assert mark.encode() not in content
            assert mark not in str(path.relative_to(tmp_path))


def test_identity_is_kept_when_asked_for(dicom, source):
    found = pydicom.dcmread(dicom(source, "--keep-identity") / "0001.dcm")
    assert found.PatientName == f"{series.MARK}^Jane"
    assert found.StudyDate == series.DATE_MARK


def test_an_archive_or_a_list_of_files_or_a_part_of_a_tree_will_do(
    model_folder, dicom, source, tmp_path
):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, path.name)
    dicom(source, like=tmp_path / "a.zip")
    id_ = next((tmp_path / "out").iterdir()).name.removesuffix("_decoded")
    files = list(source.iterdir())
    for like in (
        [tmp_path / "in"],
        files,
        [source / f"#{id_}"],
        [tmp_path / "a.zip" / f"#{id_}"],
    ):
        more = [word for path in like[1:] for word in ("--like", path)]
        code, text = decode(model_folder, tmp_path, like[0], "--overwrite", *more)
        assert code == 0, text
    code, text = decode(model_folder, tmp_path, files[0], "--overwrite")
    assert code == 4, text
    assert "no CT series has the grid of the source" in text


def test_each_latent_finds_its_own_series(model_folder, tmp_path):
    for seed in (1, 2):
        slices = series.make_series(N, seed=seed)
        for each in slices:
            each.SeriesInstanceUID += f".{seed}"
            each.SOPInstanceUID += f".{seed}"
        series.write_series(tmp_path / "in" / f"case{seed}", slices)
    assert call("encode", model_folder, tmp_path / "in", "-o", tmp_path / "latents")[0] == 0
    assert decode(model_folder, tmp_path, tmp_path / "in")[0] == 0
    folders = sorted((tmp_path / "out").iterdir())
    assert [folder.name[:5] for folder in folders] == ["case1", "case2"]
    for seed, folder in zip((1, 2), folders, strict=True):
        item = pydicom.dcmread(folder / "0001.dcm").SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID.endswith(f".{seed}")


def test_another_series_is_refused(model_folder, dicom, source, tmp_path):
    dicom(source)
    shutil.rmtree(tmp_path / "out")
    other = series.write_series(tmp_path / "other", series.make_series(N, seed=3))
    code, text = decode(model_folder, tmp_path, other)
    assert code == 4
    assert "different voxels" in text
    moved = series.write_series(tmp_path / "moved", series.make_series(N, origin=(0, 0, 0)))
    code, text = decode(model_folder, tmp_path, moved)
    assert code == 4
    assert "no CT series has the grid of the source" in text
    assert not [p for p in (tmp_path / "out").iterdir() if p.is_dir()]


def test_an_offset_at_encoding_is_given_again(model_folder, dicom, source, tmp_path):
    dicom(source, "--hu-offset", "8", encoding=("--hu-offset", "8"))
    code, text = decode(model_folder, tmp_path, source, "--overwrite")
    assert (code, "--hu-offset" in text) == (4, True)


def test_a_resampled_source_comes_back_on_its_new_grid(model_folder, tmp_path):
    slices = series.make_series(N, positions=[0, 2.5, 5, 10, 12.5, 15])
    source = series.write_series(tmp_path / "in", slices)
    volume = read_volume(source, ReadOptions(resample_irregular=True))
    latent = load_codec(model_folder, "cpu").encode(volume)
    write_latent(latent, tmp_path / "latents" / "a_latent.nii.gz")
    code, text = decode(model_folder, tmp_path, source)
    assert code == 0, text
    again = assert_equal_to_nifti(model_folder, tmp_path, tmp_path / "out" / "a_decoded")
    assert_same_place(again.grid, volume.grid)
    found = pydicom.dcmread(tmp_path / "out" / "a_decoded" / "0001.dcm")
    assert "SourceImageSequence" not in found


def test_an_existing_folder_is_refused_before_any_work(model_folder, dicom, source, tmp_path):
    folder = dicom(source)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    code, text = decode(model_folder, tmp_path, source)
    assert (code, "--overwrite" in text) == (2, True)
    code, text = decode(model_folder, tmp_path, folder, "--overwrite")
    assert (code, "--like has this name" in text) == (2, True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert decode(model_folder, tmp_path, source, "--overwrite")[0] == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} != before


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "dicom"],
        ["--like", "in"],
        ["--keep-identity"],
        ["--hu-offset", "8"],
    ],
)
def test_options_that_need_each_other_are_asked_for(model_folder, tmp_path, options):
    (tmp_path / "latents").mkdir()
    code, text = call(
        "decode", model_folder, tmp_path / "latents", "-o", tmp_path / "out", *options
    )
    assert (code, "--like" in text) == (2, True)
    assert not (tmp_path / "out").exists()


def test_decoding_with_another_model_is_refused(model_folder, inputs, tmp_path):
    from ct_vae.models.model_folder import load_model_folder, save_model_folder

    loaded = load_model_folder(model_folder)
    config = loaded.config.model_copy(update={"name": "other"})
    with torch.no_grad():
        loaded.model.quant_conv.weight.mul_(1.01)
    save_model_folder(tmp_path / "other", loaded.model, config, "", {})
    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path)
    code, text = call("decode", tmp_path / "other", tmp_path / "a_latent.nii.gz", "-o", tmp_path)
    assert code == 4
    assert "decode it with the model that encoded it" in text


def test_results_of_different_latents_never_share_a_name(model_folder, inputs, tmp_path):
    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path)
    for end in (".nii.gz", ".json"):
        (tmp_path / f"a{end}").write_bytes((tmp_path / f"a_latent{end}").read_bytes())
    latents = [tmp_path / "a.nii.gz", tmp_path / "a_latent.nii.gz"]
    code, text = call("decode", model_folder, *latents, "-o", tmp_path / "out")
    assert (code, "would be the result of" in text) == (2, True)


def test_decoded_volumes_are_marked_and_left_out_of_folders(model_folder, inputs, tmp_path):
    call("encode", model_folder, inputs, "-o", inputs)
    call("decode", model_folder, inputs, "-o", inputs)
    decoded = inputs / "a_decoded.nii.gz"
    assert b"not for diagnosis" in bytes(nib.load(decoded).header["descrip"])
    assert call("encode", model_folder, inputs, "-o", tmp_path / "again")[0] == 0
    names = {p.name for p in (tmp_path / "again").rglob("*.nii.gz")}
    assert names == {"a_latent.nii.gz", "b.c_latent.nii.gz"}
    assert call("encode", model_folder, decoded, "-o", tmp_path / "asked")[0] == 0


def test_an_edited_record_is_refused(model_folder, inputs, tmp_path):
    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path)
    path = tmp_path / "a_latent.json"
    whole = json.loads(path.read_text())
    edits = [
        lambda r: r["source"]["grid"]["affine"][0].__setitem__(3, 100.0),
        lambda r: r["preprocess"].update(window_hu=[-1000, 3000]),
        lambda r: r["source"]["grid"].update(shape=[13, 10, 10]),
        lambda r: r["source"]["grid"].update(shape=[2**31, 2**31, 2**31]),
        lambda r: r.update(factor=[2, 4, 4]),
    ]
    for edit in edits:
        record = json.loads(json.dumps(whole))
        edit(record)
        path.write_text(json.dumps(record))
        code, text = call("decode", model_folder, tmp_path / "a_latent.nii.gz", "-o", tmp_path)
        assert code == 4, text
        assert not (tmp_path / "a_decoded.nii.gz").exists()
