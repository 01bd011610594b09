import json
import math

import numpy as np
import pytest

from ct_vae.config.load import parse_config
from ct_vae.errors import ConfigError, OutputError
from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.inference.codec import load_codec
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training import train
from ct_vae.training.checkpoints.best import Best
from ct_vae.volume import Volume
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.training.test_trainer import (
    RUN_FILES,
    checkpoint_files,
    config,
    metrics,
    patches,
)

BEST_BY = "val_rmse_hu_full"
MODEL_FILES = {"config.json", "model.safetensors", "MODEL_CARD.md", "SHA256SUMS"}
BEST_FILES = {f"best/{name}" for name in MODEL_FILES}
UNPICTURED = RUN_FILES - {"progress.png"}


def test_only_a_lower_error_is_an_improvement(tmp_path):
    best = Best(tmp_path, BEST_BY)
    errors = (50.0, 60.0, 40.0, 40.0, 40.1, 39.9)
    told = [best.improved({BEST_BY: error}, n) for n, error in enumerate(errors)]
    assert told == [True, False, True, False, False, True]
    assert (best.samples_seen, best.metrics, best.since) == (5, {BEST_BY: 39.9}, 0)


def test_of_psnr_and_ssim_more_is_better(tmp_path):
    for metric in ("val_psnr_db_lung", "val_ssim_full"):
        best = Best(tmp_path, metric)
        told = [best.improved({metric: value}, 0) for value in (0.5, 0.4, 0.6, 0.6)]
        assert told == [True, False, True, False]
        assert best.since == 1


@pytest.mark.parametrize("values", [{}, {BEST_BY: math.nan}, {"val_rmse_hu_soft_tissue": 1.0}])
def test_no_full_range_error_is_no_improvement(tmp_path, values):
    assert not Best(tmp_path, BEST_BY).improved(values, 0)


def test_what_cannot_be_removed_is_told(tmp_path):
    (tmp_path / "best" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot remove the earlier"):
        Best(tmp_path, BEST_BY).clear()


def test_the_best_model_is_the_one_of_the_lowest_validation(tmp_path, monkeypatch):
    """Saves at 2, 4, 6 and 8 samples; the errors are given, not computed."""
    errors = iter([50.0, 30.0, 30.0, 40.0])
    monkeypatch.setattr("ct_vae.training.run.summarize", lambda _: {BEST_BY: next(errors)})
    folder = train(patches(), config(tmp_path, save_every=2), [ct_volume()])
    best, last = load_model_folder(folder / "best"), load_model_folder(folder)
    assert (best.config.samples_seen, last.config.samples_seen) == (4, 8)
    assert best.sha256 != last.sha256
    assert best.config.samples_seen == 4
    for card in (folder / "best" / "MODEL_CARD.md", folder / "MODEL_CARD.md"):
        assert "30" in card.read_text()


def test_the_best_model_reproduces_its_validation(tmp_path):
    folder = train(patches(), config(tmp_path), [ct_volume()])
    seen = load_model_folder(folder / "best").config.samples_seen
    lines = [line for line in metrics(folder) if BEST_BY in line]
    assert min(lines, key=lambda line: line[BEST_BY])["samples_seen"] == seen
    decoded = load_codec(folder / "best").reconstruct(ct_volume())
    result = Volume(np.rint(decoded.voxels), decoded.grid)
    (row,) = [
        row
        for row in evaluate_pair(ct_volume(), result, case="0")
        if (row.mask, row.window) == ("body", "full")
    ]
    assert row.rmse == pytest.approx(min(line[BEST_BY] for line in lines), rel=1e-6)


def test_an_older_best_model_does_not_outlive_its_run(pictured, tmp_path):
    train(patches(), config(tmp_path), [ct_volume()])
    train(patches(), config(tmp_path), overwrite=True)
    assert_only_files(tmp_path, RUN_FILES | checkpoint_files(4, 8))
    assert not (tmp_path / "best").exists()


def test_what_else_lies_beside_an_older_best_model_is_kept(tmp_path):
    train(patches(), config(tmp_path), [ct_volume()])
    (tmp_path / "best" / "notes.txt").write_text("mine")
    train(patches(), config(tmp_path), overwrite=True)
    assert_only_files(tmp_path, UNPICTURED | checkpoint_files(4, 8) | {"best/notes.txt"})


def test_a_folder_with_nothing_but_a_best_model_is_refused(tmp_path):
    train(patches(), config(tmp_path), [ct_volume()])
    others = UNPICTURED | checkpoint_files(4, 8)
    for name in others:
        (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=r"best/model\.safetensors"):
        train(patches(), config(tmp_path))
    assert_only_files(tmp_path, BEST_FILES)


def test_settings_tell_phantoms_from_a_data_set_of_ones_own(tmp_path):
    train(patches(), config(tmp_path / "own"))
    tree = config(tmp_path / "phantoms").as_json()
    tree["data"] = {"phantoms": {"train": 1, "val": 1, "spacing_mm": [16.0, 16.0, 16.0]}}
    train(None, parse_config(tree, "test"), [ct_volume()])
    own, phantoms = (
        json.loads((tmp_path / name / "train_config.json").read_text())["data"]
        for name in ("own", "phantoms")
    )
    assert own["train"] == "a data set given in Python, 5 items"
    assert phantoms["train"] == []
    assert phantoms["phantoms"]["spacing_mm"] == [16.0, 16.0, 16.0]
