import json

import pytest

from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.cli._run import call


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
    assert "factor: [4, 4, 4]" in text


def test_every_file_of_a_model_and_of_a_latent_leads_to_it(model_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        assert facts(model_folder / name)["kind"] == "model"
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    call("encode", model_folder, tmp_path / "a.nii.gz", "-o", tmp_path)
    assert facts(tmp_path / "a_latent.json")["kind"] == "latent"
