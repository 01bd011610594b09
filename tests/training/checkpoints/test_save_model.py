import json

import pytest
import torch

from ct_vae.models.model_folder import load_model_folder
from ct_vae.training.checkpoints.best import Best
from ct_vae.training.checkpoints.save_model import ModelSaver, RunFacts, saved_at
from ct_vae.training.reporting.run_log import RunLog
from tests._small import small_model
from tests.datasets._files import run_config

METRIC = "val_rmse_hu_full"
IMAGES = [torch.rand(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))]


@pytest.fixture
def saver(tmp_path):
    best = Best(tmp_path, METRIC)
    facts = RunFacts(run_config(), "mine", tmp_path, {"samples": 12}, 3, (), 1, False)
    return ModelSaver(facts, best), best


def saved(saver, folder, samples, metrics):
    with RunLog(folder / "metrics.jsonl") as log:
        return saver.write(small_model(), IMAGES, metrics, [], samples, log)


def test_a_save_is_a_model_folder_with_its_clock_and_statistics(saver, tmp_path):
    assert saved(saver[0], tmp_path, 8, {METRIC: 50.0}) == []
    config = load_model_folder(tmp_path).config
    assert (config.name, config.samples_seen, saved_at(tmp_path)) == ("mine", 8, 8)
    assert config.latent.samples == 2
    assert len(config.latent.mean) == 4
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {"samples_seen": 8, METRIC: 50.0}
    assert json.loads((tmp_path / "train_config.json").read_text()) == {"samples": 12}


def test_the_best_model_is_saved_in_its_own_folder(saver, tmp_path):
    writer, best = saver
    for samples, error in ((4, 50.0), (8, 60.0)):
        best.improved({METRIC: error}, samples)
        saved(writer, tmp_path, samples, {METRIC: error})
    assert (saved_at(tmp_path), saved_at(best.folder)) == (8, 4)


def test_clearing_removes_the_results_and_nothing_else(saver, tmp_path):
    writer, best = saver
    best.improved({METRIC: 50.0}, 4)
    saved(writer, tmp_path, 4, {METRIC: 50.0})
    (tmp_path / "notes.txt").write_text("mine")
    writer.clear()
    assert saved_at(tmp_path) is None
    assert not best.folder.exists()
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_model_has_no_clock(tmp_path):
    assert saved_at(tmp_path) is None
    (tmp_path / "config.json").write_text('{"format": "ct_vae.model"}')
    assert saved_at(tmp_path) is None
