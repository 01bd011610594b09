import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from ct_vae.errors import ConfigError, InputError
from ct_vae.find_volumes.cases import discover
from ct_vae.grid import Grid
from ct_vae.io import read_latent, read_volume, write_latent
from ct_vae.io.atomic.file import sha256_file
from ct_vae.io.formats import path_kind
from ct_vae.io.latent.read_latent import verify_latent, whole_record
from ct_vae.io.latent.record import parse_record, record_bytes
from tests._asserts import assert_only_files
from tests.io._samples import latent_of, with_posterior

NAMES = {"plain": "x_latent.nii.gz", "vector": "x_latent.nii.gz", "maisi": "x_emb.nii.gz"}
LAYOUTS = list(NAMES)
CASES = {
    "four channels": latent_of(),
    "one channel": latent_of(channels=1),
    "sample": latent_of("sample"),
    "2-D model": latent_of(factor=(4, 4, 1), shape=(3, 4, 9)),
    "one voxel deep": latent_of(shape=(3, 4, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
def test_every_layout_holds_the_same_latent(tmp_path, layout, case):
    latent, path = CASES[case], tmp_path / NAMES[layout]
    written = write_latent(latent, path, "float32", layout)
    np.testing.assert_array_equal(written.array, latent.array)
    assert written.record.layout == layout
    again = read_latent(path)
    np.testing.assert_array_equal(again.array, latent.array)
    assert (again.grid, again.record) == (latent.grid, written.record)
    assert verify_latent(path).record == written.record
    path.with_name(path.name.replace(".nii.gz", ".json")).unlink()
    alone = read_latent(path)
    np.testing.assert_array_equal(alone.array, latent.array)
    assert alone.record.layout == layout


def test_names_and_neighbours(tmp_path):
    for layout in LAYOUTS:
        write_latent(latent_of(), tmp_path / layout / NAMES[layout], layout=layout)
    assert_only_files(
        tmp_path,
        {
            *(f"{layout}/x_latent{end}" for layout in LAYOUTS[:2] for end in (".nii.gz", ".json")),
            *(f"maisi/x_emb{end}" for end in (".nii.gz", ".json", ".nii.gz.json")),
        },
    )


@pytest.mark.parametrize("case", CASES)
def test_a_vector_file_is_one_of_vectors_to_others(tmp_path, case):
    latent, path = CASES[case], tmp_path / "x_latent.nii.gz"
    written = write_latent(latent, path, layout="vector")
    image = nib.load(path)
    channels, *sides = latent.array.shape
    assert image.shape == (*sides, 1, channels)
    assert image.header["intent_code"] == 1007
    expected = np.moveaxis(written.array, 0, -1)
    scale = np.abs(expected).max() * 1e-6
    np.testing.assert_allclose(image.get_fdata()[:, :, :, 0], expected, rtol=0, atol=scale)
    assert Grid(latent.grid.shape, image.affine).distance_mm(latent.grid) < 1e-3
    other = SimpleITK.ReadImage(str(path))
    assert other.GetNumberOfComponentsPerPixel() == channels
    # ITK drops a last axis of one voxel.
    assert other.GetSize() == tuple(sides if sides[2] > 1 else sides[:2])
    values = SimpleITK.GetArrayFromImage(other).reshape((*sides[::-1], channels))
    np.testing.assert_allclose(values.transpose(2, 1, 0, 3), expected, rtol=0, atol=scale)


def test_standard_deviations_in_a_vector_file_follow_the_means_in_time(tmp_path):
    latent, path = with_posterior(latent_of(shape=(5, 4, 3))), tmp_path / "x_latent.nii.gz"
    write_latent(latent, path, layout="vector")
    expected = np.stack([latent.array, latent.std]).transpose(2, 3, 4, 0, 1)
    np.testing.assert_array_equal(nib.load(path).get_fdata(), expected)
    other = SimpleITK.ReadImage(str(path))
    assert (other.GetNumberOfComponentsPerPixel(), other.GetSize()) == (4, (5, 4, 3, 2))
    values = SimpleITK.GetArrayFromImage(other).transpose(3, 2, 1, 0, 4)
    np.testing.assert_array_equal(values, expected)
    found = read_latent(path)
    np.testing.assert_array_equal(found.array, latent.array)
    np.testing.assert_array_equal(found.std, latent.std)


# MONAI tries all of its readers, and one of them misses a GPU library.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
def test_maisi_loads_its_latents_channels_first_with_the_spacing_of_the_ct(tmp_path):
    """The steps of NV-Generate-CTMR's training: image, and the JSON at the whole name + .json."""
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

    latent, path = latent_of(), tmp_path / "x_emb.nii.gz"
    write_latent(latent, path, layout="maisi")
    steps = Compose([LoadImaged(keys=["image"]), EnsureChannelFirstd(keys=["image"])])
    image = steps({"image": str(path)})["image"]
    np.testing.assert_array_equal(image, latent.array)
    assert nib.load(path).get_data_dtype() == np.float32
    told = json.loads((tmp_path / "x_emb.nii.gz.json").read_text())
    assert told["spacing"] == pytest.approx([0.7, 0.7, 3.0])
    assert told["dim"] == [3, 4, 5]
    assert told["modality"] == "ct"


@pytest.mark.parametrize(
    ("latent", "dtype", "layout", "name", "message"),
    [
        (latent_of("codes"), None, "vector", "x_latent.nii.gz", "one of codes"),
        (latent_of("codes"), None, "maisi", "x_emb.nii.gz", "one of codes"),
        (with_posterior(latent_of()), None, "maisi", "x_emb.nii.gz", "encode samples with"),
        (latent_of(), "int16", "maisi", "x_emb.nii.gz", "float32, not int16"),
        (latent_of(), None, "maisi", "x_latent.nii.gz", r"\*_emb\.nii\.gz"),
        (latent_of(), None, "5d", "x_latent.nii.gz", "plain, vector, maisi"),
    ],
)
def test_what_a_layout_does_not_hold_is_refused(tmp_path, latent, dtype, layout, name, message):
    with pytest.raises(ConfigError, match=message):
        write_latent(latent, tmp_path / name, dtype, layout)
    assert_only_files(tmp_path, set())


def test_maisi_is_told_about_axes(tmp_path):
    latent = latent_of()
    steps = latent.record.preprocess.model_copy(update={"axcodes": "LPS"})
    record = latent.record.model_copy(update={"preprocess": steps})
    with pytest.raises(ConfigError, match="R, A and S, and this model's are LPS"):
        write_latent(type(latent)(latent.array, latent.grid, record), tmp_path / "x_emb.nii.gz",
                     layout="maisi")  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_latents_of_every_layout_are_known_as_latents(tmp_path, layout):
    path = tmp_path / NAMES[layout]
    write_latent(latent_of(), path, layout=layout)
    assert path_kind(path) == "latent"
    assert [case.path for case in discover([tmp_path], latents=True)] == [path]
    with pytest.raises(InputError, match="decode it instead"):
        read_volume(path, None)
    path.with_name(path.name.replace(".nii.gz", ".json")).unlink()
    assert path_kind(path) == "latent"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("other", LAYOUTS)
def test_a_file_is_not_read_by_the_record_of_another_layout(tmp_path, layout, other):
    path, place = tmp_path / NAMES[layout], tmp_path / "y_emb.nii.gz"
    latent = latent_of(channels=1)
    written = write_latent(latent, path, "float32", layout)
    path.replace(place)
    record = written.record.model_copy(update={"layout": other})
    (tmp_path / "y_emb.json").write_bytes(record_bytes(record))
    if layout == other:
        np.testing.assert_array_equal(read_latent(place).array, latent.array)
    else:
        with pytest.raises(InputError, match="does not agree with its record"):
            read_latent(place)


def test_records_without_a_layout_are_those_of_plain_files(tmp_path):
    write_latent(latent_of(), tmp_path / "x_latent.nii.gz")
    record = json.loads((tmp_path / "x_latent.json").read_text())
    del record["layout"]
    text = json.dumps(record).encode()
    assert parse_record(text).layout == "plain"
    (tmp_path / "x_latent.json").write_bytes(text)
    verify_latent(tmp_path / "x_latent.nii.gz")


def sidecar(tmp_path):
    path = tmp_path / "x_emb.nii.gz"
    write_latent(latent_of(), path, layout="maisi")
    return path, tmp_path / "x_emb.nii.gz.json"


def test_regions_that_are_added_to_the_json_stay_and_do_no_harm(tmp_path):
    path, beside = sidecar(tmp_path)
    told = json.loads(beside.read_text()) | {"top_region_index": [0, 1, 0, 0]}
    beside.write_text(json.dumps(told))
    verify_latent(path)
    assert whole_record(path) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda beside: beside.unlink(),
        lambda beside: beside.write_text("{"),
        lambda beside: beside.write_text("[]"),
        lambda beside: beside.write_text('{"dim": [3, 4, 5]}'),
        lambda beside: beside.write_text('{"dim": [3, 4, 5], "spacing": [1, 1, 1]}'),
        lambda beside: beside.write_text('{"dim": [3, 4, 5], "spacing": "x"}'),
        lambda beside: beside.write_text('{"dim": [3, 4, 6], "spacing": [0.7, 0.7, 3]}'),
    ],
)
def test_a_latent_whose_json_is_gone_or_wrong_is_not_done(tmp_path, damage):
    path, beside = sidecar(tmp_path)
    assert whole_record(path) is not None
    damage(beside)
    assert whole_record(path) is None
    with pytest.raises(InputError, match=r"its JSON x_emb\.nii\.gz\.json"):
        verify_latent(path)
    # Decoding does not depend on it.
    read_latent(path)


def test_the_record_is_the_last_file_to_appear(tmp_path, monkeypatch):
    """Whatever a kill leaves, a latent is done only if all of its files are there."""
    import os

    real, order = os.replace, []
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(str(b)), real(a, b)))
    path, beside = sidecar(tmp_path)
    assert order == [str(path), str(beside), str(tmp_path / "x_emb.json")]
    assert read_latent(path).record.file_sha256 == sha256_file(path)
