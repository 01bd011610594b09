import json
import subprocess
import sys

import numpy as np
import pytest

from ct_vae.io import read_latent, read_volume, write_volume
from tests._asserts import assert_only_files
from tests._forked import process
from tests._small import ct_volume
from tests.cli._run import call

# Encoding needs none of them; each would add a tenth of a second to seconds to the start.
SLOW_IMPORTS = (
    "monai",
    "matplotlib",
    "scipy.ndimage",
    "SimpleITK",
    "skimage",
    "sympy",
    "torch._dynamo",
    "rich",
)
BAD = b"<!DOCTYPE html><html>not found</html>"


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


def test_volumes_in_formats_that_are_not_read_are_told_and_listed(model_folder, inputs, tmp_path):
    (inputs / "brain.mgz").write_bytes(b"x")
    (inputs / "notes.txt").write_bytes(b"x")
    out = tmp_path / "out"
    for shard in ("0/2", "1/2", None):
        more = () if shard is None else ("--shard", shard)
        code, text = call("encode", model_folder, inputs, "-o", out, *more)
        unread = shard != "1/2"
        assert (code, "unsupported format" in text) == (8 if unread else 0, unread), text
        assert f"{inputs / 'brain.mgz'}: not read: a FreeSurfer volume" in text
    lines = (out / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["case"] for line in lines] == [str(inputs / "brain.mgz")]
    code, text = call("encode", model_folder, inputs / "brain.mgz", "-o", out)
    assert code == 4


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


def test_inputs_are_never_overwritten(model_folder, tmp_path):
    """Names that results would get, taken by volumes already: refused before any work."""
    for name in ("x", "x_latent", "x_reconstruction"):
        write_volume(ct_volume(), tmp_path / f"{name}.nii.gz")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for command in ("encode", "reconstruct"):
        code, text = call(command, model_folder, tmp_path, "-o", tmp_path)
        assert (code, "an input has this name" in text) == (2, True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("wishes", [["--sample"], ["--seed", "3"]])
def test_a_sample_and_its_seed_go_together(model_folder, inputs, tmp_path, wishes):
    code, text = call("encode", model_folder, inputs, "-o", tmp_path / "out", *wishes)
    assert (code, "go together" in text) == (2, True)


def test_one_name_that_is_too_long_does_not_stop_the_others(model_folder, inputs, tmp_path):
    write_volume(ct_volume(), inputs / f"{'n' * 245}.nii.gz")
    out = tmp_path / "out"
    assert call("encode", model_folder, inputs, "-o", out)[0] == 8
    assert (out / "a_latent.nii.gz").exists()
    assert (out / "below" / "b.c_latent.nii.gz").exists()


def test_lists_of_failures_of_other_work_are_kept(model_folder, inputs, tmp_path):
    (inputs / "bad.nii.gz").write_bytes(BAD)
    out = tmp_path / "out"
    call("encode", model_folder, inputs, "-o", out)
    assert call("decode", model_folder, out, "-o", out)[0] == 0
    assert "web page" in (out / "failures.jsonl").read_text()


def test_a_volume_that_memory_does_not_hold_fails_alone(
    model_folder, inputs, tmp_path, monkeypatch
):
    from ct_vae.models import Autoencoder

    real, calls = Autoencoder.features, []

    def features(self, x):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(self, x)

    monkeypatch.setattr(Autoencoder, "features", features)
    whole = ("--tiling", "whole")
    assert call("encode", model_folder, inputs, "-o", tmp_path / "out", *whole)[0] == 8
    assert "--tiling blend" in (tmp_path / "out" / "failures.jsonl").read_text()
    assert (tmp_path / "out" / "below" / "b.c_latent.nii.gz").exists()


def test_layouts_decode_to_the_same_volume(model_folder, inputs, tmp_path):
    source = inputs / "a.nii.gz"
    voxels = []
    for layout, stem in (("plain", "a_latent"), ("vector", "a_latent"), ("maisi", "a_emb")):
        out = tmp_path / layout
        wishes = ("--dtype", "float32", "--layout", layout)
        assert call("encode", model_folder, source, "-o", out, *wishes)[0] == 0
        assert read_latent(out / f"{stem}.nii.gz").record.layout == layout
        assert call("decode", model_folder, out, "-o", out / "back")[0] == 0
        (decoded,) = (out / "back").iterdir()
        voxels.append(read_volume(decoded).voxels)
    np.testing.assert_array_equal(voxels[0], voxels[1])
    np.testing.assert_array_equal(voxels[0], voxels[2])
    assert_only_files(
        tmp_path / "maisi",
        {"a_emb.nii.gz", "a_emb.json", "a_emb.nii.gz.json", "back/a_emb_decoded.nii.gz"},
    )


@pytest.mark.parametrize(("layout", "stem"), [("vector", "a_latent"), ("maisi", "a_emb")])
def test_a_latent_in_another_layout_is_kept_and_none_taken_for_another(
    model_folder, inputs, tmp_path, layout, stem
):
    def encode(*wishes):
        assert call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path, *wishes)[0] == 0
        return (tmp_path / f"{stem}.nii.gz").stat().st_mtime_ns

    call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path, "--dtype", "float32")
    first = encode("--layout", layout)
    assert read_latent(tmp_path / f"{stem}.nii.gz").record.layout == layout
    assert encode("--layout", layout) == first
    if layout == "maisi":
        (tmp_path / "a_emb.nii.gz.json").unlink()
        assert encode("--layout", layout) > first
        assert (tmp_path / "a_emb.nii.gz.json").exists()


def test_int16_and_other_layouts_do_not_go_together(model_folder, inputs, tmp_path):
    out = tmp_path / "out"
    for layout in ("vector", "maisi"):
        wishes = ("--layout", layout, "--dtype", "int16")
        code, text = call("encode", model_folder, inputs, "-o", out, *wishes)
        assert (code, f"{layout} is float32" in text) == (2, True)
    assert not out.exists()


@pytest.mark.parametrize(("dtype", "measured"), [("int16", False), ("int8", True)])
def test_the_rise_of_the_error_is_measured_for_forms_that_follow_the_posterior(
    model_folder, inputs, tmp_path, dtype, measured
):
    code, _ = call("encode", model_folder, inputs / "a.nii.gz", "-o", tmp_path, "--dtype", dtype)
    assert code == 0
    record = read_latent(tmp_path / "a_latent.nii.gz").record
    assert (record.step_response is not None) == measured
    assert (record.quantisation.rmse_rise is not None) == measured


def test_a_posterior_is_read_for_training_from_layouts_that_hold_it(model_folder, inputs, tmp_path):
    from ct_vae.datasets.latents import LatentDataset

    source = (inputs / "a.nii.gz", "--posterior", "--layout")
    code, _ = call("encode", model_folder, *source, "vector", "-o", tmp_path)
    assert code == 0
    dataset = LatentDataset([tmp_path], sample=True)
    assert dataset[0]["latent"].shape[0] == 4
    assert not (dataset[0]["latent"] == dataset[0]["latent"]).all()
    code, text = call("encode", model_folder, *source, "maisi", "-o", tmp_path / "maisi")
    assert (code, "MAISI would read them as channels" in text) == (2, True)
    assert not (tmp_path / "maisi").exists()


def test_codes_have_one_layout_and_are_kept(tmp_path, inputs):
    from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
    from ct_vae.config.preprocess import PreprocessConfig
    from ct_vae.models.model_folder import save_model_folder
    from tests._small import SMALL_CODES, small_model

    config = ModelFolderConfig(
        name="codes",
        model=SMALL_CODES["vq"],
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=1.0),
    )
    model, out = tmp_path / "model", tmp_path / "out"
    save_model_folder(model, small_model(base=SMALL_CODES["vq"]), config, "", {})
    source = inputs / "a.nii.gz"
    for layout in ("vector", "maisi"):
        code, text = call("encode", model, source, "-o", out, "--layout", layout)
        assert (code, "one of codes" in text) == (2, True)
        assert not out.exists()
    call("encode", model, source, "-o", out)
    assert "is done already" in call("encode", model, source, "-o", out)[1]


def test_a_series_with_a_gap_is_encoded_only_when_told(model_folder, real_data, tmp_path):
    series = real_data / "dicom" / "missing_slice"
    code, text = call("encode", model_folder, series, "-o", tmp_path / "a", "--force")
    assert code == 4
    assert "--resample-irregular" in text + (tmp_path / "a" / "failures.jsonl").read_text()
    told = ("--force", "--resample-irregular")
    assert call("encode", model_folder, series, "-o", tmp_path / "a", *told)[0] == 0
    (latent,) = (tmp_path / "a").rglob("*_latent.nii.gz")
    assert read_latent(latent).record.warnings


def test_verbose_tells_the_plan(model_folder, inputs, tmp_path):
    source = inputs / "a.nii.gz"
    told = call("encode", model_folder, source, "-o", tmp_path, "--verbose")[1]
    assert "encode: exact, slabs of at least" in told
    again = call("encode", model_folder, source, "-o", tmp_path, "--overwrite")[1]
    assert "slabs" not in again


def test_encoding_loads_no_room_that_it_does_not_need(model_folder, inputs, tmp_path):
    program = (
        "import sys\n"
        "from ct_vae.cli.main import run\n"
        "try:\n"
        "    run()\n"
        "finally:\n"
        "    rooms = {n.split('.')[1] for n in sys.modules if n.startswith('ct_vae.')}\n"
        "    print('loaded', *rooms)\n"
        "    print('packages', *(n for n in sys.modules if n in {SLOW}))\n"
    ).replace("SLOW", ", ".join(map(repr, SLOW_IMPORTS)))
    words = ["encode", model_folder, inputs, "-o", tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    )
    *_, rooms, packages = done.stdout.splitlines()
    assert packages == "packages"
    loaded = set(rooms.split())
    assert loaded >= {"loaded", "inference", "batch", "io"}
    assert not loaded & {"phantoms", "training", "evaluation", "datasets", "losses", "bundle"}
