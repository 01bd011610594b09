"""Nothing that tells of a patient, a time or a place comes out of any command."""

import gzip
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ct_vae.errors import InputError
from ct_vae.inference.codec import load_codec
from ct_vae.io import read_volume, write_latent
from tests._small import SMALL_MODEL, ct_volume
from tests.cli._run import call
from tests.io import _series as series
from tests.io._marked import (
    MARKS,
    mark_everything,
    marked_metaimage,
    marked_nifti,
    marked_nrrd,
)

# What stands in the names of folders and files; the terminal and `failures.jsonl` may tell it.
FOLDER_MARK = "ZWFOLDERZW"
SIDES = (20, 16)
CASES = 6


def marked_series(folder, seed, n=12):
    slices = [mark_everything(each) for each in series.make_series(n, SIDES, seed)]
    for each in slices:
        each.SeriesInstanceUID += f".{seed}"
        each.PatientID += str(seed)
    return series.write_series(folder, slices, lambda k: f"{FOLDER_MARK} {k}")


def cut_series(folder, seed):
    marked_series(folder, seed)
    sorted(folder.iterdir())[5].unlink()


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A tree of good and refused cases, every name of which holds a mark, as do all texts."""
    root = tmp_path_factory.mktemp(FOLDER_MARK)
    for seed, part in enumerate(("train", "val"), start=1):
        marked_series(root / part / f"{FOLDER_MARK}^Jane {seed}" / "CT", seed)
        volume = ct_volume((16, 20, 12), seed=seed)
        marked_nifti(volume, root / part / "b" / f"{FOLDER_MARK}_{seed}.nii.gz")
    marked_metaimage(volume, root / "train" / f"{FOLDER_MARK}.mha")
    marked_nrrd(volume, root / "val" / f"{FOLDER_MARK}.nrrd")
    cut_series(root / "bad" / f"{FOLDER_MARK} gap", 3)
    path = marked_nifti(ct_volume((16, 20, 12)), root / "bad" / f"{FOLDER_MARK}.nii.gz")
    path.write_bytes(path.read_bytes()[:-9])
    return root


def contents(path):
    """The bytes of a file, and what is compressed in them."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content += gzip.decompress(content)
    if path.suffix == ".png":
        with Image.open(path) as picture:
            content += repr(picture.text).encode()
    return content.lower()


def assert_clean(folder, *more):
    """No mark of a tag anywhere, and none of a name or path but where that may stand."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        told = path.name == "failures.jsonl"
        names = () if told else (FOLDER_MARK, str(folder.parent), *more)
        content = contents(path)
        for mark in (*MARKS, *names):
            assert mark.lower().encode() not in content, (path.name, mark)
        for mark in MARKS:
            assert mark not in str(path.relative_to(folder))


def run(*args, code=0):
    found, text = call(*args)
    assert found == code, text
    for mark in MARKS:
        assert mark not in text
    return text


def test_the_marks_are_where_they_should_be(given):
    """A test of the test: they are found in the inputs by what looks for them in the outputs."""
    for path in given.rglob("*"):
        if path.is_file() and "bad" not in path.parts:
            with pytest.raises(AssertionError):
                assert_clean(path.parent)


@pytest.mark.parametrize("layout", ["plain", "vector", "maisi"])
def test_latents_and_what_is_made_of_them(given, model_folder, tmp_path, layout):
    latents = tmp_path / "latents"
    dtype = () if layout == "plain" else ("--dtype", "float32")
    text = run(*("encode", model_folder, given, "-o", latents, "--layout", layout, *dtype), code=8)
    assert FOLDER_MARK in text
    assert FOLDER_MARK in (latents / "failures.jsonl").read_text()
    assert len(list(latents.rglob("*.nii.gz"))) == CASES
    assert_clean(latents, str(given))
    decoded = tmp_path / "decoded"
    run("decode", model_folder, latents, "-o", decoded)
    assert len(list(decoded.rglob("*.nii.gz"))) == CASES
    assert_clean(decoded, str(given))
    for path in latents.rglob("*.nii.gz"):
        run("info", path)
        run("info", path, "--json")
    run("verify", *latents.rglob("*.nii.gz"))


def test_reports_and_pictures(given, model_folder, tmp_path):
    out = tmp_path / "out"
    run("evaluate", model_folder, given, "-o", out, code=8)
    assert len(list(out.glob("*.png"))) == CASES
    assert {path.suffix for path in out.iterdir()} == {
        ".png",
        ".csv",
        ".html",
        ".json",
        ".jsonl",
    }
    assert_clean(out, str(given))
    assert not [path for path in out.rglob("*") if FOLDER_MARK in path.name]


def test_reconstructions(given, model_folder, tmp_path):
    run("reconstruct", model_folder, given, "-o", tmp_path / "out", code=8)
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == CASES
    assert_clean(tmp_path / "out", str(given))


def test_a_trained_model_and_its_logs(given, tmp_path):
    out = tmp_path / "run"
    training = {
        "output_dir": str(out),
        "samples": 8,
        "batch_size": 2,
        "patch_size": [8, 8, 8],
        "warmup_samples": 2,
        "log_every": 2,
        "save_every": 4,
    }
    tree = {
        "model": SMALL_MODEL.model_dump(mode="json", exclude_unset=True),
        "data": {"train": [str(given / "train")], "val": [str(given / "val")]},
        "training": training,
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps(tree))
    run("train", config, "--device", "cpu")
    names = {path.name for path in out.rglob("*")}
    assert {"model.safetensors", "MODEL_CARD.md", "metrics.jsonl", "train_config.json"} <= names
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert any("val_rmse_hu_full" in line for line in lines)
    assert_clean(out, str(given))
    run("info", out)
    run("bundle", out, "-o", tmp_path / "bundle")
    assert_clean(tmp_path / "bundle", str(given))
    run("export", out, "-o", tmp_path / "export" / "model.ts", "--format", "torchscript")
    assert_clean(tmp_path / "export", str(given))


def test_latents_by_the_library(given, model_folder, tmp_path):
    """Reading a folder tells what else is in it, but not by the names of files."""
    place = tmp_path / "study"
    shutil.copytree(next((given / "train").glob("*/CT")), place / "CT")
    slices = series.make_series(8)
    for each in slices:
        each.SeriesInstanceUID += ".9"
    series.write_series(place / f"{FOLDER_MARK} cut", slices, lambda k: f"{FOLDER_MARK} {k}.dcm")
    (place / f"{FOLDER_MARK} cut" / f"{FOLDER_MARK} 3.dcm").write_bytes(b"junk")
    scout = series.make_series(1)[0]
    scout.SeriesInstanceUID += ".8"
    series.save(mark_everything(scout), place / FOLDER_MARK / FOLDER_MARK)
    volume = read_volume(place)
    assert len(volume.warnings) == 3
    latent = load_codec(model_folder, "cpu").encode(volume)
    assert latent.record.warnings == volume.warnings
    write_latent(latent, tmp_path / "out" / "a_latent.nii.gz")
    assert_clean(tmp_path / "out", str(place))


def test_datalists_tell_paths_but_no_patient(given, tmp_path):
    run("scan", given, "-o", tmp_path / "list.json")
    run("scan", given, "--json")
    content = contents(tmp_path / "list.json")
    assert FOLDER_MARK.lower().encode() in content
    for mark in MARKS:
        assert mark.lower().encode() not in content


def test_messages_of_refusal(given):
    for path in sorted((given / "bad").iterdir()):
        with pytest.raises(InputError) as caught:
            read_volume(path)
        for mark in MARKS:
            assert mark not in str(caught.value)


def test_marks_change_no_voxel(given):
    """Whoever fills in every text of a header gets the same volume."""
    folder = next((given / "train").glob("*/CT"))
    expected = series.hounsfield(12, SIDES, 1)
    np.testing.assert_array_equal(read_volume(folder).voxels, expected)
