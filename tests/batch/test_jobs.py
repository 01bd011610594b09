from pathlib import Path

import numpy as np
import pytest

from ct_vae.batch.jobs import (
    converted_name,
    converting,
    decoded_name,
    decoding,
    do_cases,
    encoding,
    latent_name,
    name_targets,
    reconstruction,
    reconstruction_name,
)
from ct_vae.errors import ConfigError
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.io import ReadOptions, read_latent, read_volume, write_volume
from ct_vae.io.latent.storage import LatentForm
from tests._small import IDENTITY, SMALL_CODES, ct_volume, small_codec

CASES = [Case(Path("in/a.nii"), "a"), Case(Path("in/b/a.nii"), "b/a")]


@pytest.fixture
def source(tmp_path):
    write_volume(ct_volume(), tmp_path / "in" / "a.nii.gz")
    return tmp_path / "in"


def run(folder, source, rename, work_of, latents=False):
    """Process all cases of a folder, and return the path of the single result."""
    cases = discover([source], latents=latents)
    targets = name_targets(cases, folder, rename)
    assert do_cases(cases, work_of(targets), "stage", folder, print) == 0
    (target,) = targets.values()
    return target


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (LatentForm(), "a_latent.nii.gz"),
        (LatentForm("coded"), "a_latent.latz"),
        (LatentForm("float32", "maisi"), "a_emb.nii.gz"),
    ],
)
def test_results_have_the_name_of_their_case(form, name):
    assert latent_name("a", form) == name
    assert converted_name("a_latent", form) == converted_name("a_emb", form) == name
    assert decoded_name("a_latent") == "a_decoded.nii.gz"
    assert decoded_name("a_latent", "") == "a_decoded"
    assert reconstruction_name("a") == "a_reconstruction.nii.gz"


def test_targets_mirror_the_keys():
    targets = name_targets(CASES, Path("out"), reconstruction_name)
    assert [str(target) for target in targets.values()] == [
        "out/a_reconstruction.nii.gz",
        "out/b/a_reconstruction.nii.gz",
    ]


def test_targets_that_are_inputs_or_equal_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="an input has this name"):
        name_targets(CASES, Path("in"), lambda key: f"{key}.nii")
    with pytest.raises(ConfigError, match=r"would be the result of in/a\.nii and in/b/a\.nii"):
        name_targets(CASES, Path("out"), lambda _: "same")
    (tmp_path / "link").symlink_to("in")
    with pytest.raises(ConfigError, match="an input has this name"):
        name_targets(CASES, Path("link"), lambda key: f"{key}.nii")


def test_reconstruction_equals_decoding_of_the_lossless_latent(source, tmp_path):
    codec, form, reading = small_codec(), LatentForm("float32"), ReadOptions()
    latent = run(
        tmp_path / "latents",
        source,
        lambda key: latent_name(key, form),
        lambda targets: encoding(codec, targets, reading, form=form),
    )
    decoded = run(
        tmp_path / "decoded",
        latent.parent,
        decoded_name,
        lambda targets: decoding(codec, targets),
        latents=True,
    )
    direct = run(
        tmp_path / "direct",
        source,
        reconstruction_name,
        lambda targets: reconstruction(codec, targets, reading),
    )
    np.testing.assert_array_equal(read_volume(decoded).voxels, read_volume(direct).voxels)


def test_conversion_keeps_values_within_the_rounding_that_is_reported(source, tmp_path):
    form = LatentForm("float32")
    latent = run(
        tmp_path / "latents",
        source,
        lambda key: latent_name(key, form),
        lambda targets: encoding(small_codec(), targets, ReadOptions(), form=form),
    )
    converted = run(
        tmp_path / "converted",
        latent.parent,
        lambda key: converted_name(key, LatentForm()),
        lambda targets: converting(targets, LatentForm("int16")),
        latents=True,
    )
    exact, rounded = read_latent(latent), read_latent(converted)
    rmse = np.sqrt(np.mean((exact.array - rounded.array) ** 2))
    assert 0 < rmse == pytest.approx(rounded.record.quantisation.rmse, rel=1e-3)


def test_codes_have_no_posterior_to_store():
    codec = small_codec(base=SMALL_CODES["magvit"])
    codec.identity = IDENTITY.model_copy(update={"latent_type": "magvit"})
    with pytest.raises(ConfigError, match="posterior"):
        encoding(codec, {}, ReadOptions(), form=LatentForm(posterior=True))
    with pytest.raises(ConfigError, match="dtype int16 is about continuous latents"):
        encoding(codec, {}, ReadOptions(), form=LatentForm("int16"))
