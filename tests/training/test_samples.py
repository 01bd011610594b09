"""What is drawn and reconstructed, for every kind of model."""

import gzip
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, InputError, OutputError
from ct_vae.find_volumes.cases import Case
from ct_vae.inference.codec import load_codec
from ct_vae.io import read_volume
from ct_vae.models.model_folder import save_model_folder
from ct_vae.training.samples import MOST_SHOWN, SampleOptions, _names, sample_run
from tests._asserts import assert_only_files
from tests._small import SMALL_CODES, SMALL_MODEL, ct_volume, small_model

BASES = {
    "kl": SMALL_MODEL,
    **SMALL_CODES,
    "flat": SMALL_MODEL.model_copy(update={"spatial_dims": 2}),
}
MEASURED = LatentConfig(scaling_factor=1.0, mean=(0.0,) * 4, std=(1.0,) * 4)
WINDOW = (-900.0, 700.0)


def model_folder(folder, kind="kl", latent=MEASURED, seed=0, **preprocess):
    steps = PreprocessConfig(window_hu=WINDOW, **preprocess)
    settings = ModelFolderConfig(
        name="small", model=BASES[kind], preprocess=steps, latent=latent, samples_seen=8
    )
    save_model_folder(folder, small_model(seed, BASES[kind]), settings, "# small\n", {})
    return folder


def originals(*names):
    return {Case(Path(name), name): partial(ct_volume, seed=i) for i, name in enumerate(names)}


def voxels(folder, name):
    return read_volume(folder / name).voxels


@pytest.fixture
def run(tmp_path):
    return model_folder(tmp_path / "run")


@pytest.mark.parametrize("kind", BASES)
def test_every_kind_of_model_is_sampled(kind, tmp_path):
    run = model_folder(tmp_path / "run", kind)
    options = SampleOptions(count=2, size=(8, 9, 5), spacing_mm=(1.0, 2.0, 3.0))
    assert sample_run(run, originals("a"), tmp_path / "out", options) == 0
    names = {"random_000.nii.gz", "random_001.nii.gz", "recon_a.nii.gz", "samples.png"}
    assert_only_files(tmp_path / "out", names)
    for name in sorted(names - {"samples.png"}):
        volume = read_volume(tmp_path / "out" / name)
        assert volume.voxels.min() >= WINDOW[0]
        assert volume.voxels.max() <= WINDOW[1]
        assert b"not for diagnosis" in gzip.decompress((tmp_path / "out" / name).read_bytes())[:348]
    drawn = read_volume(tmp_path / "out" / "random_000.nii.gz").grid
    assert drawn.shape == ((8, 12, 5) if kind == "flat" else (8, 12, 8))
    assert drawn.spacing_mm == (1.0, 2.0, 3.0)
    reconstruction = load_codec(run).reconstruct(ct_volume())
    written = read_volume(tmp_path / "out" / "recon_a.nii.gz")
    assert written.grid == ct_volume().grid
    np.testing.assert_array_equal(written.voxels, np.rint(reconstruction.voxels))
    assert not np.array_equal(
        voxels(tmp_path / "out", "random_000.nii.gz"), voxels(tmp_path / "out", "random_001.nii.gz")
    )


@pytest.mark.parametrize("kind", ["kl", "vq", "magvit"])
def test_a_seed_gives_the_same_voxels_whatever_the_count(kind, tmp_path):
    run = model_folder(tmp_path / "run", kind)
    for name, seed, count in (("few", 0, 1), ("many", 0, 3), ("other", 1, 1)):
        options = SampleOptions(count, seed, size=(8, 8, 8))
        sample_run(run, {}, tmp_path / name, options)
    few, many, other = (tmp_path / n / "random_000.nii.gz" for n in ("few", "many", "other"))
    assert few.read_bytes() == many.read_bytes()
    assert few.read_bytes() != other.read_bytes()


def test_the_picture_shows_every_row(run, tmp_path):
    sample_run(run, originals("a"), tmp_path / "out", SampleOptions(1, size=(8, 8, 8)))
    picture = imread(tmp_path / "out" / "samples.png")[..., :3].mean(-1)
    # Original, reconstruction and a random volume: 1.7 inches each below a header of one inch.
    assert picture.shape[0] == round(110 * (1.0 + 3 * 1.7 + 0.1))
    for row in range(3):
        top = round(110 * (1.0 + 1.7 * row))
        band = picture[top : top + 187, 100:600]
        assert band.std() > 0.05


def test_the_picture_has_an_end(run, tmp_path, monkeypatch):
    monkeypatch.setattr("ct_vae.training.samples.MOST_SHOWN", 1)
    lines = []
    names = ("a", "b")
    options = SampleOptions(2, size=(4, 4, 4))
    sample_run(run, originals(*names), tmp_path / "out", options, report=lines.append)
    assert imread(tmp_path / "out" / "samples.png").shape[0] == round(110 * (1.0 + 3 * 1.7 + 0.1))
    assert lines[-1] == "the picture shows the first 1 of each kind"
    assert MOST_SHOWN * 3 * 1.7 * 110 < 2**16


def test_names_of_cases_stay_out_of_the_picture(run, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        "ct_vae.training.samples.write_sheet",
        lambda rows, path, title: told.extend([title, *(row.label for row in rows)]),
    )
    sample_run(run, originals("secret"), tmp_path / "out", SampleOptions(1, size=(4, 4, 4)))
    assert "case 1\noriginal" in told
    assert not any("secret" in text for text in told)


def test_the_usual_size_and_spacing_follow_run_and_data(tmp_path):
    options = SampleOptions(1)
    for name, cases, steps, spacing in (
        ("data", originals("a"), {}, (1.5, 2.0, 2.5)),
        ("turned", originals("a"), {"axcodes": "SPL"}, (2.5, 2.0, 1.5)),
        ("resampled", originals("a"), {"spacing_mm": (3.0, 4.0, 5.0)}, (3.0, 4.0, 5.0)),
        ("nothing", {}, {}, (1.5, 1.5, 1.5)),
    ):
        run = model_folder(tmp_path / name, **steps)
        sample_run(run, cases, tmp_path / f"{name}_out", options)
        grid = read_volume(tmp_path / f"{name}_out" / "random_000.nii.gz").grid
        assert grid.shape == (64, 64, 64)
        assert grid.spacing_mm == pytest.approx(spacing)


def test_both_checkpoints_have_a_folder_each(tmp_path):
    run = model_folder(tmp_path)
    model_folder(tmp_path / "best", seed=1)
    out = tmp_path / "out"
    options = SampleOptions(1, size=(8, 8, 8), overwrite=True)
    sample_run(run, originals("a"), out, options, "both")
    files = {"random_000.nii.gz", "recon_a.nii.gz", "samples.png"}
    assert_only_files(out, {f"{place}/{name}" for place in ("best", "last") for name in files})
    best, last = (voxels(out / place, "random_000.nii.gz") for place in ("best", "last"))
    assert not np.array_equal(best, last)
    for name, expected in (("best", best), ("last", last)):
        sample_run(run, {}, out, options, name)
        assert_only_files(out, {"random_000.nii.gz", "samples.png"})
        np.testing.assert_array_equal(voxels(out, "random_000.nii.gz"), expected)


def test_earlier_samples_are_kept_unless_told(run, tmp_path):
    out = tmp_path / "out"
    sample_run(run, originals("a"), out, SampleOptions(2, size=(4, 4, 4)))
    (out / "notes.txt").write_text("mine")
    (out / "recon.nii.gz").write_text("mine too")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(ConfigError, match="holds 4 earlier samples, such as random_000"):
        sample_run(run, {}, out, SampleOptions(1, size=(4, 4, 4)))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    sample_run(run, {}, out, SampleOptions(1, size=(4, 4, 4), overwrite=True))
    assert_only_files(out, {"random_000.nii.gz", "samples.png", "notes.txt", "recon.nii.gz"})


def test_an_input_among_the_results_is_not_removed(run, tmp_path):
    out = tmp_path / "out"
    sample_run(run, originals("a"), out, SampleOptions(1, size=(4, 4, 4)))
    path = out / "recon_a.nii.gz"
    case = Case(path, "recon_a")
    options = SampleOptions(1, size=(4, 4, 4), overwrite=True)
    with pytest.raises(ConfigError, match="a result would replace an input"):
        sample_run(run, {case: partial(read_volume, path)}, out, options)
    assert path.exists()


def refuse():
    raise InputError("not CT", "look at it")


def test_a_refused_case_is_listed_and_the_rest_is_finished(run, tmp_path):
    cases = {Case(Path("bad"), "bad"): refuse, **originals("a")}
    lines = []
    options = SampleOptions(1, size=(4, 4, 4))
    assert sample_run(run, cases, tmp_path / "out", options, report=lines.append) == 8
    names = {"recon_a.nii.gz", "random_000.nii.gz", "samples.png", "failures.jsonl"}
    assert_only_files(tmp_path / "out", names)
    assert lines[0] == "error: not CT; look at it"
    assert lines[1].endswith("recon_a.nii.gz is case 2")


def test_a_link_in_a_circle_fails_alone(run, tmp_path):
    link = tmp_path / "self.nii.gz"
    link.symlink_to(link)
    cases = {Case(link, "self"): partial(read_volume, link), **originals("a")}
    assert sample_run(run, cases, tmp_path / "out", SampleOptions(0)) == 8
    names = {"recon_a.nii.gz", "samples.png", "failures.jsonl"}
    assert_only_files(tmp_path / "out", names)


@pytest.mark.parametrize(
    ("options", "checkpoint", "message"),
    [
        ({}, "best", "has no best model"),
        ({}, "both", "has no best model"),
        ({"size": (4, 0, 4)}, "last", "not positive"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "last", "not positive"),
    ],
)
def test_what_cannot_be_done_writes_nothing(run, tmp_path, options, checkpoint, message):
    with pytest.raises(ConfigError, match=message):
        sample_run(run, originals("a"), tmp_path / "out", SampleOptions(**options), checkpoint)
    assert not (tmp_path / "out").exists()


def test_noise_without_statistics_is_refused_and_reconstructions_are_not(tmp_path):
    run = model_folder(tmp_path / "run", latent=LatentConfig(scaling_factor=1.0))
    with pytest.raises(ConfigError, match=r"no measured mean .* or --count 0"):
        sample_run(run, originals("a"), tmp_path / "out", SampleOptions(1))
    assert not (tmp_path / "out").exists()
    assert sample_run(run, originals("a"), tmp_path / "out", SampleOptions(0)) == 0
    assert_only_files(tmp_path / "out", {"recon_a.nii.gz", "samples.png"})


def test_a_folder_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        sample_run(run, {}, tmp_path / "file" / "out", SampleOptions(1, size=(4, 4, 4)))


def test_names_are_plain_and_each_its_own():
    keys = ["a", "below/b.c", "img/a.nii.gz", "img_a", "../../etc/x.NII", "/", "img_a_2"]
    names = _names(keys)
    assert names[:3] == ["a", "below_b.c", "img_a"]
    assert names[3:] == ["img_a_2", "etc_x", "case", "img_a_2_2"]
