import sys
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.image import imsave

from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError
from ct_vae.training.reporting import trackers
from ct_vae.training.reporting.trackers import GuardedTracker, NoTracker, build_tracker
from tests._asserts import assert_only_files

SECRET = "doe_jane"
CONFIG = RunConfig(data={"train": (f"/data/{SECRET}",)}).as_json()


def test_without_a_name_nothing_is_written(tmp_path):
    tracker = build_tracker(None, tmp_path, CONFIG)
    tracker.write({"loss": 1.0}, 2)
    tracker.close()
    assert_only_files(tmp_path, set())


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"'tensorbord'.*tensorboard, mlflow, wandb"):
        build_tracker("tensorbord", tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("name", "package"),
    [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")],
)
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, name, package):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"ct_vae\[tracking\]") as caught:
        build_tracker(name, tmp_path, CONFIG)
    assert caught.value.exit_code == 2
    assert_only_files(tmp_path, set())


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def images(folder):
    """Steps and sizes of the recorded images."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(e.step, (e.height, e.width)) for e in events.Images(tag)]
        for tag in events.Tags()["images"]
    }


def picture(folder):
    """A PNG of 20 rows and 30 columns."""
    path = folder / "picture.png"
    imsave(path, np.random.default_rng(0).random((20, 30, 3)))
    return path


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tracking' is not installed")
    tracker = build_tracker("tensorboard", tmp_path, CONFIG)
    tracker.write({"loss": 0.5, "lr": 0.25}, 2)
    tracker.write({"val_rmse_hu_full": 30.0}, 2)
    tracker.write({"loss": 0.25}, 4)
    tracker.write_picture("validation", picture(tmp_path), 2)
    tracker.close()
    assert images(tmp_path) == {"validation": [(2, (20, 30))]}
    assert scalars(tmp_path) == {
        "training/loss": [(2, 0.5), (4, 0.25)],
        "training/lr": [(2, 0.25)],
        "validation/rmse_hu_full": [(2, 30.0)],
    }
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    assert b"training.samples" in content
    assert SECRET.encode() not in content
    assert str(tmp_path).encode() not in content


def test_tensorboard_hides_what_a_resumed_run_writes_again(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tracking' is not installed")
    first = build_tracker("tensorboard", tmp_path, CONFIG)
    for step in (2, 4, 6):
        first.write({"loss": float(step)}, step)
    first.close()
    second = build_tracker("tensorboard", tmp_path, CONFIG, samples_seen=4)
    second.write({"loss": 16.0}, 6)
    second.close()
    assert scalars(tmp_path)["training/loss"] == [(2, 2.0), (4, 4.0), (6, 16.0)]


def test_a_tracker_that_fails_is_told_once_and_ends_nothing(tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="the extra 'tracking' is not installed")
    told = []
    tracker = build_tracker("tensorboard", tmp_path, CONFIG, say=told.append)
    for _ in range(2):
        tracker.write({"loss": "no number"}, 2)
    tracker.close()
    assert len(told) == 1
    assert told[0].startswith("the tracker failed and gets no more metrics: ")


def test_a_picture_that_fails_ends_nothing(tmp_path):
    told = []
    failing = Mock(write_picture=Mock(side_effect=ConnectionError("gone")))
    tracker = GuardedTracker(failing, told.append)
    for _ in range(2):
        tracker.write_picture("validation", tmp_path / "a.png", 2)
    assert told == ["the tracker failed and gets no more metrics: ConnectionError: gone"]


def test_failures_go_to_standard_error_unless_told_otherwise(capsys):
    tracker = GuardedTracker(NoTracker(), trackers.say)
    tracker._try(lambda: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_mlflow_needs_a_server(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        build_tracker("mlflow", tmp_path, CONFIG)


def test_mlflow_gets_numbers_and_no_names(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker = build_tracker("mlflow", tmp_path / "run", CONFIG)
    tracker.write({"loss": 0.5}, 2)
    tracker.write({"loss": 0.25}, 4)
    tracker.write_picture("validation", picture(tmp_path), 4)
    tracker.close()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("ct_vae")
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(2, 0.5), (4, 0.25)]
    assert run.info.status == "FINISHED"
    (artifact,) = client.list_artifacts(run.info.run_id, "validation")
    assert artifact.path == "validation/samples-000000004.png"
    assert run.data.params["training.samples"] == "100000"
    assert SECRET not in str(run.data.params)
    assert set(run.data.tags) == {"mlflow.runName"}


@pytest.mark.slow
def test_wandb_is_offline_and_sends_no_names(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra 'tracking' is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracker = build_tracker("wandb", tmp_path / "run", CONFIG)
    tracker.write({"loss": 0.5}, 2)
    tracker.write_picture("validation", picture(tmp_path), 2)
    tracker.close()
    assert list((tmp_path / "run" / "wandb").rglob("validation*.png"))
    (record,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    content = record.read_bytes()
    assert b"loss" in content
    assert SECRET.encode() not in content
    assert str(tmp_path).encode() not in content
