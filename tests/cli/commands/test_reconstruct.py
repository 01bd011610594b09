import numpy as np

from ct_vae.io import read_volume
from tests.cli._run import call


def test_reconstruct_equals_encode_and_decode_of_exact_latents(model_folder, inputs, tmp_path):
    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path, "--dtype", "float32")
    call("decode", model_folder, tmp_path / "a_latent.nii.gz", "-o", tmp_path)
    assert call("reconstruct", model_folder, inputs / "a.nii.gz", "-o", tmp_path)[0] == 0
    a, b = (read_volume(tmp_path / f"a_{n}.nii.gz") for n in ("decoded", "reconstruction"))
    np.testing.assert_array_equal(a.voxels, b.voxels)


def test_bad_inputs_are_listed_and_the_others_reconstructed(model_folder, inputs, tmp_path):
    (inputs / "bad.nii.gz").write_bytes(b"<!DOCTYPE html>")
    code, text = call("reconstruct", model_folder, inputs, "-o", tmp_path / "out")
    assert (code, "2 done, 1 failed" in text) == (8, True)
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.gz")}
    assert names == {"a_reconstruction.nii.gz", "below/b.c_reconstruction.nii.gz"}
    for name in names:
        source = inputs / name.replace("_reconstruction", "")
        source = source if source.exists() else source.with_suffix("")
        assert read_volume(tmp_path / "out" / name).grid == read_volume(source).grid
