import json

import pytest
from matplotlib.image import imread

from ct_vae.io import read_volume, write_volume
from tests._asserts import assert_only_files
from tests._forked import process
from tests._small import SMALL_MODEL, ct_volume
from tests.cli._run import call

FILES = {
    *(f"random_{i:03d}.nii.gz" for i in range(4)),
    "recon_thorax_0001.nii.gz",
    "samples.png",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on phantoms, trained by the command."""
    folder = tmp_path_factory.mktemp("sample")
    shape = {"down_channels", "num_res_blocks", "mid_attn", "norm_groups"}
    phantoms = {"train": 1, "val": 1, "anatomies": ["thorax"], "spacing_mm": [16.0, 16.0, 16.0]}
    tree = {
        "model": SMALL_MODEL.model_dump(mode="json", include=shape),
        "data": {"phantoms": phantoms},
        "training": {
            "output_dir": str(folder / "run"),
            "samples": 4,
            "patch_size": [8, 8, 12],
            "save_every": 4,
        },
    }
    (folder / "tiny.json").write_text(json.dumps(tree))
    assert call("train", folder / "tiny.json")[0] == 0
    return folder / "run"


def test_a_run_on_phantoms_is_sampled_without_more_ado(run, tmp_path):
    code, text = call("sample", run, "-o", tmp_path / "out")
    assert code == 0, text
    assert_only_files(tmp_path / "out", FILES)
    grid = read_volume(tmp_path / "out" / "random_000.nii.gz").grid
    assert grid.shape == (8, 8, 12)
    assert grid.spacing_mm == (16, 16, 16)
    picture = imread(tmp_path / "out" / "samples.png")
    assert picture.std() > 0.1
    assert text.splitlines()[-1] == str(tmp_path / "out")


def test_both_checkpoints_of_a_run(run, tmp_path):
    write_volume(ct_volume(), tmp_path / "in" / "a.nii.gz")
    out, files = tmp_path / "out", {*(FILES - {"recon_thorax_0001.nii.gz"}), "recon_a.nii.gz"}
    args = ["sample", run, tmp_path / "in", "-o", out, "--checkpoint", "both"]
    assert call(*args)[0] == 0
    assert_only_files(out, {f"{place}/{n}" for place in ("best", "last") for n in files})
    code, text = call(*args)
    assert (code, "earlier samples" in text) == (2, True)
    assert call(*args, "--overwrite", "--count", 1)[0] == 0
    assert len(list(out.rglob("random_*"))) == 2


def test_volumes_and_options_are_taken(run, tmp_path):
    write_volume(ct_volume(), tmp_path / "in" / "a.nii.gz")
    out = tmp_path / "out"
    args = ["--count", 1, "--size", 4, 6, 8, "--spacing-mm", 1, 2, 3, "--device", "cpu"]
    assert call("sample", run, tmp_path / "in", "-o", out, *args)[0] == 0
    assert_only_files(out, {"random_000.nii.gz", "recon_a.nii.gz", "samples.png"})
    grid = read_volume(out / "random_000.nii.gz").grid
    assert (grid.shape, grid.spacing_mm) == ((4, 8, 8), (1, 2, 3))


def test_seeds_differ_and_repeat(run, tmp_path):
    write_volume(ct_volume(), tmp_path / "in.nii.gz")
    for name, seed in (("a", 0), ("b", 0), ("c", 5)):
        args = ["-o", tmp_path / name, "--seed", seed, "--count", 1]
        assert call("sample", run, tmp_path / "in.nii.gz", *args)[0] == 0
    a, b, c = ((tmp_path / n / "random_000.nii.gz").read_bytes() for n in "abc")
    assert a == b != c


def test_a_refused_input_is_one_line_and_its_own_exit_code(run, tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    done = process("sample", run, tmp_path / "bad.nii.gz", "-o", tmp_path / "out", "--count", 0)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert_only_files(tmp_path / "out", {"failures.jsonl"})


def test_a_model_that_tells_no_volumes_is_one_line(model_folder, tmp_path):
    done = process("sample", model_folder, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "volumes after RUN" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--count", -1], 2),
        (["--seed", -1], 2),
        (["--size", 8, 8], 2),
        (["--size", 0, 8, 8], 2),
        (["--spacing-mm", 1, "nan", 1], 2),
        (["--checkpoint", "first"], 2),
        (["--device", "cuda:77"], 2),
        (["--config", "nowhere.json"], 2),
        (["nowhere"], 3),
    ],
)
def test_nonsense_writes_nothing(run, tmp_path, args, code):
    assert call("sample", run, *args, "-o", tmp_path / "out")[0] == code
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_model_is_4(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    code, text = call("sample", tmp_path, tmp_path / "a.nii.gz", "-o", tmp_path / "out")
    assert (code, "not a model folder" in text) == (4, True)
    code, text = call("sample", tmp_path, "-o", tmp_path / "a.nii.gz")
    assert (code, "-o takes a folder" in text) == (2, True)
