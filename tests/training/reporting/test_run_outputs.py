from unittest.mock import Mock

import pytest

from ct_vae.training.reporting.run_outputs import RunOutputs
from ct_vae.training.step_metrics import StepMetrics

METRICS = StepMetrics(
    loss=0.5,
    losses={"recon": 0.4},
    weights={"recon": 1.0},
    grad_norm=2.0,
    latent_std=0.9,
    mae=0.01,
    mse=0.02,
    codes={"perplexity": 7.0},
)


@pytest.fixture
def outputs():
    return RunOutputs(Mock(), Mock(), Mock(), 1000.0)


def test_a_step_is_logged_in_hu_and_with_the_weights_of_its_terms(outputs):
    outputs.log_step(8, METRICS, 1e-3, 2)
    (line,) = outputs.log.write.call_args.args
    assert line == {
        "samples_seen": 8,
        "loss": 0.5,
        "mae_hu": 10.0,
        "recon": 0.4,
        "recon_weight": 1.0,
        "perplexity": 7.0,
        "grad_norm": 2.0,
        "latent_std": 0.9,
        "lr": 1e-3,
        "skipped_steps": 2,
    }
    tracked, clock = outputs.tracker.write.call_args.args
    assert (tracked, clock) == ({k: v for k, v in line.items() if k != "samples_seen"}, 8)


def test_notes_are_shown_and_logged(outputs):
    outputs.note(8, "smaller micro-batch")
    outputs.progress.say.assert_called_once_with("smaller micro-batch")
    outputs.log.write.assert_called_once_with({"samples_seen": 8, "note": "smaller micro-batch"})


def test_validations_are_tracked_but_not_logged(outputs):
    outputs.validation(8, {"val_rmse_hu_full": 50.0})
    outputs.progress.note.assert_called_once_with(8, {"val_rmse_hu_full": 50.0})
    outputs.tracker.write.assert_called_once_with({"val_rmse_hu_full": 50.0}, 8)
    outputs.log.write.assert_not_called()


def test_only_an_image_that_exists_is_tracked(outputs, tmp_path):
    outputs.picture(8, tmp_path / "absent.png")
    outputs.tracker.write_picture.assert_not_called()
    (tmp_path / "a.png").touch()
    outputs.picture(8, tmp_path / "a.png")
    outputs.tracker.write_picture.assert_called_once_with("validation", tmp_path / "a.png", 8)
    outputs.show(8, METRICS)
    outputs.progress.show.assert_called_once_with(8, METRICS, 1000.0)
