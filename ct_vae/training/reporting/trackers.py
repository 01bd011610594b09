"""Adapters to experiment trackers, which receive metrics and validation pictures of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from ct_vae.errors import ConfigError
from ct_vae.terminal import say
from ct_vae.training.redact import redacted

# Environment variable with the server of MLflow.
_SERVER = "MLFLOW_TRACKING_URI"
# Limits of that server for one request, and for one parameter.
_MOST_PARAMS, _LONGEST_PARAM = 100, 500


class Tracker(Protocol):
    """Interface of trackers."""

    def write(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Record metrics by name."""

    def write_picture(self, name: str, path: Path, samples_seen: int) -> None:
        """Record a PNG file under a name."""

    def close(self) -> None:
        """Flush and close the tracker."""


class NoTracker:
    """Tracker without output."""

    def write(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Do nothing."""

    def write_picture(self, name: str, path: Path, samples_seen: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoardTracker:
    """Event files in ``tensorboard/`` of the run folder, for ``tensorboard --logdir``.

    Their names contain the time and the name of the machine, as TensorBoard requires.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides the events of an interrupted run that the resumed run writes again.
        purge = start + 1 if start else None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)
        rows = "".join(f"| {key} | {value} |\n" for key, value in config.items())
        self._writer.add_text("config", f"| key | value |\n|---|---|\n{rows}", start)

    def write(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Record metrics by name."""
        for name, value in values.items():
            group = "validation" if name.startswith("val_") else "training"
            self._writer.add_scalar(f"{group}/{name.removeprefix('val_')}", value, samples_seen)
        self._writer.flush()

    def write_picture(self, name: str, path: Path, samples_seen: int) -> None:
        """Record a PNG file under a name."""
        from matplotlib.image import imread

        pixels = imread(path)[..., :3]
        self._writer.add_image(name, pixels, samples_seen, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class MlflowTracker:
    """Run in the experiment ``ct_vae`` of the server in ``MLFLOW_TRACKING_URI``.

    It uses the low-level client, which sends no names of users, scripts or machines. A resumed run
    is a new run there.
    """

    def __init__(self, _: Path, config: Mapping[str, Any], __: int) -> None:
        mlflow: Any = import_module("mlflow")
        entities: Any = import_module("mlflow.entities")
        self._metric = entities.Metric
        self._client = mlflow.MlflowClient(os.environ[_SERVER])
        known = self._client.get_experiment_by_name("ct_vae")
        experiment = known.experiment_id if known else self._client.create_experiment("ct_vae")
        self._run = self._client.create_run(experiment).info.run_id
        texts = {key: str(value)[:_LONGEST_PARAM] for key, value in config.items()}
        params = [entities.Param(key, text) for key, text in texts.items()]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + _MOST_PARAMS])

    def write(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Record metrics by name."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, samples_seen) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def write_picture(self, name: str, path: Path, samples_seen: int) -> None:
        """Record a PNG file as an artifact in a folder of that name."""
        with TemporaryDirectory(prefix="ct_vae_picture_") as folder:
            # The server names an artifact by its file.
            file = Path(folder) / f"samples-{samples_seen:09}.png"
            file.write_bytes(path.read_bytes())
            self._client.log_artifact(self._run, str(file), name)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run)


class WandbTracker:
    """Run in ``wandb/`` of the run folder, offline unless ``WANDB_MODE`` is set.

    The collection of data about machine, user, code and terminal is disabled. The logs of Weights &
    Biases in that folder contain its path. A resumed run is a new run there.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], _: int) -> None:
        wandb: Any = import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            console="off",
            disable_git=True,
            save_code=False,
            silent=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project="ct_vae", dir=folder, config=dict(config), mode=mode, settings=quiet
        )

    def write(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Record metrics by name."""
        self._run.log({**values, "samples_seen": samples_seen}, step=samples_seen)

    def write_picture(self, name: str, path: Path, samples_seen: int) -> None:
        """Record a PNG file under a name."""
        wandb: Any = import_module("wandb")
        self._run.log({name: wandb.Image(str(path))}, step=samples_seen)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class GuardedTracker:
    """Tracker that stops after its first failure, so that the run continues.

    Args:
        tracker: Tracker that receives metrics and pictures.
        say: Function that reports the failure in one line.
    """

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._say = say

    def write(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Record metrics by name."""
        self._try(lambda: self._tracker.write(values, samples_seen))

    def write_picture(self, name: str, path: Path, samples_seen: int) -> None:
        """Record a PNG file under a name."""
        self._try(lambda: self._tracker.write_picture(name, path, samples_seen))

    def close(self) -> None:
        """Flush and close the tracker."""
        self._try(self._tracker.close)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # Tools, servers and networks raise arbitrary exceptions.
            self._tracker = NoTracker()
            self._say(
                f"the tracker failed and gets no more metrics: {type(error).__name__}: {error}"
            )


_TRACKERS: dict[str, type[TensorBoardTracker | MlflowTracker | WandbTracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}


def check_tracker(name: str | None) -> None:
    """Check that a tracker is available, without opening it.

    Raises:
        ConfigError: If the name is unknown, or its package or server is missing.
    """
    if name is None:
        return
    if name not in _TRACKERS:
        raise ConfigError(
            f"training.tracker {name!r} is unknown", f"choose one of {', '.join(_TRACKERS)}"
        )
    if find_spec(name) is None:
        raise _missing(name, f"no module named {name!r}")
    if name == "mlflow" and not os.environ.get(_SERVER):
        raise ConfigError("training.tracker 'mlflow' needs a server", f"name it in {_SERVER}")


def _missing(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"training.tracker {name!r} needs a package that is not installed ({why})",
        "install the extra 'tracking': pip install 'ct_vae[tracking]'",
    )


def build_tracker(
    name: str | None,
    folder: Path,
    config: dict[str, Any],
    samples_seen: int = 0,
    say: Callable[[str], None] = say,
) -> Tracker:
    """Build a tracker by name.

    Args:
        name: ``tensorboard``, ``mlflow``, ``wandb``, or ``None`` for none.
        folder: Run folder.
        config: Configuration of the run as JSON; paths are removed here.
        samples_seen: Samples seen before, in a resumed run.
        say: Called with a line if the tracker fails.

    Raises:
        ConfigError: If the name is unknown or its package is missing.
    """
    if name is None:
        return NoTracker()
    check_tracker(name)
    try:
        tracker = _TRACKERS[name](folder, _flat(redacted(config)), samples_seen)
    except ImportError as error:
        raise _missing(name, str(error)) from error
    return GuardedTracker(tracker, say)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested values to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
