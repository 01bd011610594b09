import json
import re

import numpy as np
import pytest

from ct_vae.io import write_latent, write_volume
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.io._samples import latent_of
from tests.io._series import DATE_MARK, MARK, UID_MARK, make_series, save, write_series


def facts(path):
    code, text = call("info", path, "--json")
    assert code == 0, text
    return json.loads(text)


def test_a_configuration_tells_its_architecture(repository):
    told = facts(repository / "configs" / "sd_2d.json")
    assert told["parameters"] == 83_653_863
    assert told["factor"] == [8, 8]
    assert told["compression in numbers"] == 48
    assert [s["sides"] for s in told["stages"][:4]] == [[n, n] for n in (256, 128, 64, 32)]


def test_a_model_folder_tells_its_identity(model_folder):
    told = facts(model_folder)
    assert (told["kind"], told["name"], told["factor"]) == ("model", "small", [4, 4, 4])
    assert len(told["sha256"]) == 64


def test_a_volume_and_its_latent_tell_where_they_lie(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    call("encode", model_folder, tmp_path / "a.nii.gz", "-o", tmp_path)
    volume, latent = facts(tmp_path / "a.nii.gz"), facts(tmp_path / "a_latent.nii.gz")
    assert (volume["kind"], volume["shape"]) == ("volume", [13, 10, 11])
    assert (latent["kind"], latent["shape"]) == ("latent", [4, 4, 3, 3])
    assert latent["spacing mm"] == [6, 8, 10]
    assert latent["record"]["source"]["grid"]["shape"] == volume["shape"]


@pytest.mark.parametrize("name", ["absent.nii.gz", "absent.json", "absent"])
def test_what_is_not_there_is_told(tmp_path, name):
    assert call("info", tmp_path / name)[0] in (2, 3)


def test_plain_text_is_for_people(repository):
    code, text = call("info", repository / "configs" / "kl_f4.json")
    assert code == 0
    assert "factor: 4, 4, 4" in text
    assert "  name latent, channels 4, factor 4 x 4 x 4, sides 64 x 64 x 64" in text


def test_plain_text_has_neither_nulls_nor_long_numbers(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    call("encode", model_folder, tmp_path / "a.nii.gz", "-o", tmp_path)
    call("decode", model_folder, tmp_path / "a_latent.nii.gz", "-o", tmp_path)
    for name in ("a.nii.gz", "a_latent.nii.gz", "a_decoded.nii.gz", model_folder):
        path = tmp_path / name
        code, text = call("info", path)
        assert code == 0
        assert not re.search(r"None|null|True|False|[\[\]{}]|\.\d{10}", text), text
        if path.is_file():
            assert "affine:\n  " in text
            # The rows of the matrix are those that --json prints.
            shown = text.split("affine:\n")[1].splitlines()[:4]
            rows = [[float(x) for x in row.split(", ")] for row in shown]
            assert np.allclose(rows, facts(path)["affine"])


def test_every_file_of_a_model_and_of_a_latent_leads_to_it(model_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        assert facts(model_folder / name)["kind"] == "model"
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    call("encode", model_folder, tmp_path / "a.nii.gz", "-o", tmp_path)
    assert facts(tmp_path / "a_latent.json")["kind"] == "latent"


def test_a_model_tells_what_it_wants_and_gives(model_folder):
    told = facts(model_folder)
    assert (told["axes"], told["resampled to mm"]) == ("RAS", None)
    assert (told["HU window"], told["model range"]) == ([-1000, 1000], [-1, 1])
    assert told["scaling factor"] == 2


@pytest.mark.parametrize(("layout", "stem"), [("vector", "a_latent"), ("maisi", "a_emb")])
def test_a_latent_tells_layout_statistics_and_place(tmp_path, layout, stem):
    latent = latent_of()
    write_latent(latent, tmp_path / f"{stem}.nii.gz", layout=layout)
    names = [f"{stem}.nii.gz", f"{stem}.json"] + ["a_emb.nii.gz.json"] * (layout == "maisi")
    for name in names:
        told = facts(tmp_path / name)
        assert (told["kind"], told["layout"], told["content"]) == ("latent", layout, "mean")
        assert told["shape"] == [4, 3, 4, 5]
        assert told["first voxel mm RAS"] == pytest.approx(latent.grid.to_world((0, 0, 0)))
        assert told["last voxel mm RAS"] == pytest.approx(latent.grid.to_world((2, 3, 4)))
        np.testing.assert_array_equal(told["affine"], latent.grid.affine)
        assert (told["mean"], told["std"]) == ([1] * 4, [3] * 4)
        assert told["lowest value"] == pytest.approx(latent.array.min())
        assert told["stored as"] == "float32"


def test_a_volume_tells_its_place_and_share_outside(tmp_path):
    voxels = ct_volume().voxels.copy()
    voxels[0] = -3024
    grid = ct_volume().grid
    write_volume(Volume(voxels, grid), tmp_path / "a.nii.gz")
    told = facts(tmp_path / "a.nii.gz")
    assert told["outside the field of view"] == pytest.approx(1 / 13)
    assert told["last voxel mm RAS"] == grid.to_world((12, 9, 10)).tolist()
    assert "padding" in told["warnings"][0]


def test_a_series_tells_its_slices_and_nobodys_name(tmp_path):
    folder = write_series(tmp_path / "series", make_series())
    archive = tmp_path / "series.zip"
    import shutil

    shutil.make_archive(str(archive.with_suffix("")), "zip", folder)
    for path in (folder, archive):
        told = facts(path)
        assert (told["kind"], told["shape"]) == ("DICOM volume", [10, 12, 8])
        assert told["spacing mm"] == pytest.approx([0.5, 0.75, 2.5])
        (series,) = told["series"]
        assert (series["slices"], series["modality"], series["verdict"]) == (8, "CT", "ok")
        for text in (call("info", path)[1], call("info", path, "--json")[1]):
            for mark in (MARK, UID_MARK, DATE_MARK):
                assert mark not in text


def test_a_refused_series_is_told_with_its_reason(tmp_path):
    slices = make_series()
    told = facts(write_series(tmp_path / "gap", slices[:3] + slices[4:]))
    assert told["kind"] == "DICOM"
    (series,) = told["series"]
    assert (series["verdict"], series["slices"]) == ("refused", 7)
    assert "a slice is missing" in series["reason"]


def test_of_several_series_each_is_told_and_one_can_be_named(tmp_path):
    folder = write_series(tmp_path / "both", make_series())
    for k, each in enumerate(make_series(5, seed=3)):
        each.SeriesInstanceUID, each.SeriesNumber = "1.2.9.9", 4
        save(each, folder / f"second{k}")
    told = facts(folder)
    assert told["kind"] == "DICOM"
    assert [row["slices"] for row in told["series"]] == [8, 5]
    for row in told["series"]:
        alone = facts(folder / f"#{row['id']}")
        assert alone["series"] == [row]
        assert alone["shape"] == [10, 12, row["slices"]]
