import pytest

from ct_vae.bundle import (
    Trainer,
    run_config,
    training,
    training_patches,
    validation_volumes,
)
from ct_vae.datasets.sources.split import Split
from ct_vae.errors import ConfigError
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training.reporting.run_log import read_log
from ct_vae.volume import Volume
from tests._small import SMALL_MODEL, ct_volume
from tests.bundle._run import Patches


def test_any_data_set_of_dictionaries_will_do(tmp_path):
    settings = {"model": SMALL_MODEL.model_dump(mode="json"), "training": {"patch_size": [8, 8, 8]}}
    trainer = Trainer(settings, Patches(), tmp_path / "run", 1, 4, device="cpu")
    assert trainer.run() == tmp_path / "run"
    assert load_model_folder(tmp_path / "run").config.samples_seen == 4


def test_a_folder_takes_the_place_of_the_data_and_what_holds_for_any_data_stays():
    settings = {
        "data": {
            "phantoms": {"train": 2},
            "augment": {"noise_hu": 5.0},
            "patient_pattern": "P[0-9]+",
            "cache_dir": "/cache",
        }
    }
    config = run_config(settings, "/ct")
    assert config.data.train == ("/ct",)
    assert config.data.phantoms is None
    assert config.data.augment.noise_hu == 5.0
    assert (config.data.patient_pattern, config.data.cache_dir) == ("P[0-9]+", "/cache")
    assert config.data.val_share == 0.1
    assert run_config({"data": {"phantoms": {"train": 2}}}).data.phantoms.train == 2
    assert run_config({"data": {"val_share": 0.3, "train": ["x"]}}, "/ct").data.val_share == 0.3
    assert run_config({"data": {"val_share": 0.0}}, "/ct").data.val_share == 0.0
    named = run_config({"data": {"train": ["x"], "val": ["/held_out"]}}, "/ct")
    assert (named.data.val, named.data.val_share) == (("/held_out",), 0.0)


def test_wrong_settings_are_one_line_that_names_the_key():
    with pytest.raises(ConfigError, match=r"settings: training.lrr is not a known key, did you"):
        run_config({"training": {"lrr": 1}})
    for section in ({"save_every": "x"}, [1]):
        with pytest.raises(ConfigError, match=r"^settings: training"):
            Trainer({"training": section}, Patches(), "run", 1, 4)
    games = Trainer({"training": {"adversarial_weight": 0.1}}, Patches(), "run", 1, 40).config
    assert games.training.adversarial_start_samples == 39
    with pytest.raises(ConfigError, match=r"training\.samples"):
        Trainer({"model": SMALL_MODEL.model_dump(mode="json")}, Patches(), "run", 0, 4)


def test_patches_are_as_many_as_the_run_takes(caplog):
    data = {"phantoms": {"train": 1, "val": 1, "spacing_mm": [16.0, 16.0, 16.0]}}
    settings = {
        "model": SMALL_MODEL.model_dump(mode="json"),
        "data": data,
        "training": {"samples": 50, "patch_size": [8, 8, 8]},
    }
    assert len(training_patches(settings, samples=70)) == 70
    assert len(training_patches(settings)) == 50
    assert "training uses phantoms" in caplog.text


def test_validation_volumes_are_read_when_they_are_asked_for(monkeypatch):
    reads = []

    class Case:
        def load(self):
            reads.append(self)
            return ct_volume((8, 8, 8))

    cases = [Case(), Case(), Case()]
    monkeypatch.setattr(training, "checked_split", lambda _: Split([], cases))
    volumes = validation_volumes({"model": SMALL_MODEL.model_dump(mode="json")})
    assert len(volumes) == 3
    assert reads == []
    assert isinstance(volumes[1], Volume)
    assert isinstance(volumes[1:][1], Volume)
    assert reads == [cases[1], cases[2]]


def test_a_run_is_resumed_and_may_be_made_longer(tmp_path):
    settings = {"model": SMALL_MODEL.model_dump(mode="json"), "training": {"patch_size": [8, 8, 8]}}
    volumes = [ct_volume((8, 8, 8))]
    for epochs in (1, 2):
        Trainer(settings, Patches(), tmp_path / "run", epochs, 4, volumes, "cpu").run()
        assert load_model_folder(tmp_path / "run").config.samples_seen == 4 * epochs
    lines = read_log(tmp_path / "run" / "metrics.jsonl")
    assert [line["samples_seen"] for line in lines if "val_rmse_hu_full" in line] == [4, 8]
