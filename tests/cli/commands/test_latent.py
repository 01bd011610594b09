import json

import numpy as np
import pytest

from ct_vae.io import read_latent, read_volume, write_latent, write_volume
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.cli._run import call, process
from tests.io._samples import latent_of, with_posterior

FORMS = {"int8": ".nii.gz", "int16": ".nii.gz", "float32": ".nii.gz", "coded": ".latz"}


@pytest.fixture
def source(tmp_path):
    write_volume(ct_volume(), tmp_path / "ct" / "below" / "a.nii.gz")
    return tmp_path / "ct"


@pytest.fixture
def latents(tmp_path):
    write_latent(latent_of(seed=1), tmp_path / "in" / "a_latent.nii.gz", "float32")
    write_latent(with_posterior(latent_of(seed=2)), tmp_path / "in" / "b" / "c_latent.latz")
    return tmp_path / "in"


@pytest.mark.parametrize("dtype", FORMS)
def test_every_form_is_encoded_described_verified_and_decoded(
    model_folder, source, tmp_path, dtype
):
    out = tmp_path / "latents"
    assert call("encode", model_folder, source, "-o", out, "--dtype", dtype)[0] == 0
    name = f"below/a_latent{FORMS[dtype]}"
    beside = f"{name}.json" if dtype == "coded" else "below/a_latent.json"
    assert_only_files(out, {name, beside})
    for path in (out / name, out / beside):
        code, text = call("info", path, "--json")
        assert code == 0
        assert json.loads(text)["stored as"] == dtype
    code, text = call("verify", out)
    assert code == 0
    assert text.count("latent of kind mean") == 1
    assert call("decode", model_folder, out, "-o", tmp_path / "back")[0] == 0
    decoded = read_volume(tmp_path / "back" / "below" / "a_decoded.nii.gz")
    assert decoded.grid == read_volume(source / "below" / "a.nii.gz").grid


def test_coded_latents_are_kept_unless_they_would_differ(model_folder, source, tmp_path):
    args = ("encode", model_folder, source, "-o", tmp_path / "out", "--dtype", "coded")
    assert "is done already" not in call(*args)[1]
    assert "is done already" in call(*args)[1]
    assert "is done already" in call(*args, "--step", "1")[1]
    assert "is done already" not in call(*args, "--step", "2")[1]
    record = read_latent(tmp_path / "out" / "below" / "a_latent.latz").record
    assert record.quantisation.step == 2
    assert record.quantisation.rmse_rise >= 0
    assert "is done already" not in call(*args, "--step", "2", "--posterior")[1]


def test_posteriors_are_those_of_the_model(model_folder, source, tmp_path):
    call("encode", model_folder, source, "-o", tmp_path, "--posterior", "--dtype", "float32")
    latent = read_latent(tmp_path / "below" / "a_latent.nii.gz")
    assert latent.std.shape == latent.array.shape
    found = np.sqrt(np.mean(latent.std.astype(np.float64) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(found, latent.record.statistics.posterior_std, rtol=1e-5)
    call("encode", model_folder, source, "-o", tmp_path / "plain", "--dtype", "float32")
    plain = read_latent(tmp_path / "plain" / "below" / "a_latent.nii.gz")
    assert plain.std is None
    np.testing.assert_array_equal(plain.array, latent.array)


@pytest.mark.parametrize("dtype", FORMS)
def test_latents_are_converted_to_every_form(latents, tmp_path, dtype):
    out = tmp_path / "out"
    assert call("latent", "convert", latents, "-o", out, "--dtype", dtype)[0] == 0
    for name in ("a_latent.nii.gz", "b/c_latent.latz"):
        before = read_latent(latents / name)
        after = read_latent(out / f"{name.partition('.')[0]}{FORMS[dtype]}")
        assert after.record.quantisation.dtype == dtype
        assert (after.std is None) == (before.std is None)
        error = np.abs(after.array.astype(np.float64) - before.array).max()
        assert error <= after.record.quantisation.max_abs_error


def test_coded_goes_through_other_forms_and_back_bit_for_bit(tmp_path):
    first = write_latent(latent_of(), tmp_path / "a_latent.latz")
    for k, dtype in enumerate(("float32", "int16", "coded")):
        given = (
            tmp_path / f"a_latent{'.latz' if not k else '.nii.gz'}"
            if not k
            else tmp_path / str(k - 1)
        )
        assert call("latent", "convert", given, "-o", tmp_path / str(k), "--dtype", dtype)[0] == 0
    last = read_latent(tmp_path / "2" / "a_latent.latz")
    np.testing.assert_array_equal(last.array, first.array)
    a, b = first.record.quantisation, last.record.quantisation
    assert a.integers_sha256 == b.integers_sha256


def test_latents_of_other_layouts_are_converted_and_named_for_them(latents, tmp_path):
    args = ("-o", tmp_path / "out", "--dtype", "float32", "--layout", "maisi")
    assert call("latent", "convert", latents / "a_latent.nii.gz", *args)[0] == 0
    assert_only_files(tmp_path / "out", {"a_emb.nii.gz", "a_emb.nii.gz.json", "a_emb.json"})
    back = ("-o", tmp_path / "back", "--dtype", "coded")
    assert call("latent", "convert", tmp_path / "out", *back)[0] == 0
    assert_only_files(tmp_path / "back", {"a_latent.latz", "a_latent.latz.json"})


def test_the_input_is_not_replaced(latents):
    code, text = call("latent", "convert", latents, "-o", latents, "--dtype", "int16")
    assert code == 2
    assert "an input has this name" in text


def test_latents_without_the_posterior_are_told_what_to_do(tmp_path):
    latent = latent_of()
    statistics = latent.record.statistics.model_copy(update={"posterior_std": None})
    record = latent.record.model_copy(update={"statistics": statistics, "format_version": 1})
    write_latent(type(latent)(latent.array, latent.grid, record), tmp_path / "old_latent.nii.gz")
    out = tmp_path / "out"
    code, text = call("latent", "convert", tmp_path, "-o", out, "--dtype", "coded")
    assert code == 4
    assert "encode the source again" in text
    assert call("latent", "convert", tmp_path, "-o", out, "--dtype", "float32")[0] == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--step", "2"), "int16 has none"),
        (("--dtype", "coded", "--step", "0"), "positive number"),
        (("--dtype", "coded", "--layout", "maisi"), "layout maisi is float32"),
        (("--posterior", "--layout", "maisi"), "MAISI would read them as channels"),
        (("--posterior", "--sample", "--seed", "1"), "exclude each other"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(
    model_folder, source, tmp_path, more, told
):
    code, text = call("encode", model_folder, source, "-o", tmp_path / "out", *more)
    assert code == 2
    assert told in text
    assert not (tmp_path / "out").exists()


def test_searches_for_volumes_tell_coded_latents_from_them(model_folder, source, tmp_path):
    write_latent(latent_of(), source / "below" / "old_latent.latz")
    code, text = call("encode", model_folder, source, "-o", tmp_path / "out")
    assert code == 0
    assert "1 latent" in text
    rows = json.loads(process("scan", source, "--json").stdout)["rows"]
    assert [row["kind"] for row in rows if "latz" in row["path"]] == ["latent"]


def test_a_damaged_coded_latent_fails_in_every_command(model_folder, tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.latz")
    path = tmp_path / "a_latent.latz"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    for args in (
        ("verify", tmp_path),
        ("verify", path),
        ("info", path),
        ("decode", model_folder, path, "-o", tmp_path / "out"),
        ("latent", "convert", path, "-o", tmp_path / "out", "--dtype", "int16"),
    ):
        code, _ = call(*args)
        assert code == 4, args
