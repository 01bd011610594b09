import json

import numpy as np
import pytest

from ct_vae.io import read_latent, read_volume, write_volume
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.cli._run import call, process

BAD = b"<!DOCTYPE html><html>not found</html>"


@pytest.fixture
def inputs(tmp_path):
    """Two good volumes, one of them in a folder below."""
    write_volume(ct_volume(), tmp_path / "in" / "a.nii.gz")
    write_volume(ct_volume(seed=1), tmp_path / "in" / "below" / "b.c.nii")
    return tmp_path / "in"


def test_a_folder_is_mirrored_and_comes_back(model_folder, inputs, tmp_path):
    assert call("encode", model_folder, inputs, "-o", tmp_path / "latents")[0] == 0
    assert_only_files(
        tmp_path / "latents",
        {f"{stem}_latent{end}" for stem in ("a", "below/b.c") for end in (".nii.gz", ".json")},
    )
    assert call("decode", model_folder, tmp_path / "latents", "-o", tmp_path / "back")[0] == 0
    assert_only_files(tmp_path / "back", {"a_decoded.nii.gz", "below/b.c_decoded.nii.gz"})
    for source, decoded in (("a.nii.gz", "a_decoded"), ("below/b.c.nii", "below/b.c_decoded")):
        original = read_volume(inputs / source)
        assert read_volume(tmp_path / "back" / f"{decoded}.nii.gz").grid == original.grid


def test_reconstruct_equals_encode_and_decode_of_exact_latents(model_folder, inputs, tmp_path):
    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path, "--dtype", "float32")
    call("decode", model_folder, tmp_path / "a_latent.nii.gz", "-o", tmp_path)
    assert call("reconstruct", model_folder, inputs / "a.nii.gz", "-o", tmp_path)[0] == 0
    a, b = (read_volume(tmp_path / f"a_{n}.nii.gz") for n in ("decoded", "reconstruction"))
    np.testing.assert_array_equal(a.voxels, b.voxels)


def test_bad_cases_are_listed_and_good_ones_finished(model_folder, inputs, tmp_path):
    (inputs / "bad.nii.gz").write_bytes(BAD)
    out = tmp_path / "out"
    code, _ = call("encode", model_folder, inputs, "-o", out)
    assert code == 8
    assert_only_files(
        out,
        {f"{stem}_latent{end}" for stem in ("a", "below/b.c") for end in (".nii.gz", ".json")}
        | {"failures.jsonl"},
    )
    lines = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert len(lines) == 1
    assert lines[0].keys() == {"case", "stage", "cause", "hint"}
    assert "web page" in lines[0]["cause"]
    (inputs / "bad.nii.gz").unlink()
    assert call("encode", model_folder, inputs, "-o", out)[0] == 0
    assert not (out / "failures.jsonl").exists()


def test_a_single_bad_case_has_its_own_exit_code(model_folder, tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(BAD)
    done = process("encode", model_folder, tmp_path / "bad.nii.gz", "-o", tmp_path / "out")
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert_only_files(tmp_path / "out", {"failures.jsonl"})


def test_nothing_to_do_is_3(model_folder, tmp_path):
    code, text = call("encode", model_folder, tmp_path, "-o", tmp_path / "out")
    assert code == 3
    assert "no volumes" in text
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_7(model_folder, inputs, tmp_path):
    (tmp_path / "file").write_text("")
    code, text = call("encode", model_folder, inputs, "-o", tmp_path / "file" / "out")
    assert code == 7, text


def test_an_output_that_names_a_file_is_refused(model_folder, inputs, tmp_path):
    code, text = call("encode", model_folder, inputs, "-o", tmp_path / "latent.nii.gz")
    assert (code, "-o takes a folder" in text) == (2, True)


def test_what_is_done_and_verified_is_kept(model_folder, inputs, tmp_path):
    source, latent = inputs / "a.nii.gz", tmp_path / "a_latent.nii.gz"
    call("encode", model_folder, source, "-o", tmp_path)
    first = latent.stat().st_mtime_ns
    call("encode", model_folder, source, "-o", tmp_path)
    assert latent.stat().st_mtime_ns == first
    call("encode", model_folder, source, "-o", tmp_path, "--overwrite")
    second = latent.stat().st_mtime_ns
    assert second > first
    latent.write_bytes(latent.read_bytes()[:-3])
    call("encode", model_folder, source, "-o", tmp_path)
    read_latent(latent)


def test_what_was_done_differently_is_done_again(model_folder, inputs, tmp_path):
    source, latent = inputs / "a.nii.gz", tmp_path / "a_latent.nii.gz"
    call("encode", model_folder, source, "-o", tmp_path)
    call("encode", model_folder, source, "-o", tmp_path, "--sample", "--seed", "4")
    assert read_latent(latent).record.seed == 4
    call("encode", model_folder, source, "-o", tmp_path, "--dtype", "float32")
    record = read_latent(latent).record
    assert (record.kind, record.quantisation.dtype) == ("mean", "float32")
    call("encode", model_folder, source, "-o", tmp_path, "--tiling", "blend", "--tile", "8")
    assert read_latent(latent).record.tiling.method == "blend"


def test_decoding_with_another_model_is_refused(model_folder, inputs, tmp_path):
    from ct_vae.models.model_folder import load_model_folder, save_model_folder

    loaded = load_model_folder(model_folder)
    config = loaded.config.model_copy(update={"name": "other"})
    save_model_folder(tmp_path / "other", loaded.model, config, "", {})
    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path)
    code, text = call("decode", tmp_path / "other", tmp_path / "a_latent.nii.gz", "-o", tmp_path)
    assert code == 4
    assert "decode it with the model that encoded it" in text


def test_a_model_that_is_none_is_refused(inputs, tmp_path):
    code, text = call("encode", tmp_path / "absent", inputs, "-o", tmp_path / "out")
    assert (code, "not a model folder" in text) == (4, True)


def test_reading_options_reach_the_reader(model_folder, tmp_path):
    shifted = ct_volume()
    voxels = (shifted.voxels + 1024).clip(0).astype(np.int16)
    write_volume(type(shifted)(voxels, shifted.grid), tmp_path / "shifted.nii.gz")
    code, text = call("encode", model_folder, tmp_path / "shifted.nii.gz", "-o", tmp_path)
    assert code == 4
    assert "--hu-offset" in text
    code, _ = call(
        "encode", model_folder, tmp_path / "shifted.nii.gz", "-o", tmp_path, "--hu-offset", "-1024"
    )
    assert code == 0
