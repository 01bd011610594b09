"""Choice of the volumes for samples of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ct_vae.config.load import load_config, parse_config, read_json
from ct_vae.config.run import RunConfig
from ct_vae.datasets.sources.split import FileCase, TrainingCase, build_split
from ct_vae.errors import ConfigError
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.io import ReadOptions, read_volume
from ct_vae.training.checkpoints.save_model import SETTINGS
from ct_vae.volume import Volume

_GIVE = "name volumes after RUN, or give --config with the configuration that the run began with"


_SOURCES = ("datalist", "csv", "train")


def find_originals(
    run: Path,
    inputs: Sequence[str] = (),
    config: str | Path | None = None,
    reading: ReadOptions | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[Case, Callable[[], Volume]]:
    """Find the volumes to reconstruct, each with a function that reads or generates it.

    Args:
        run: The run folder. It contains no paths, so its validation volumes are known only if they
            are phantoms.
        inputs: Files, folders and patterns to use instead.
        config: A run configuration whose validation volumes are used instead.
        reading: Options of reading.
        report: Called with a line for each skipped DICOM series of the inputs.

    Raises:
        ConfigError: If no volumes are given, or both ``inputs`` and ``config``.
        NoInputError: If an input has no volumes.
    """
    if inputs and config is not None:
        raise ConfigError("INPUT and --config both name volumes", "give one of them")
    if inputs:
        found = discover(inputs, unique=False, report=report)
        return {case: partial(case.read, reading) for case in found}
    settings = _phantom_settings(run) if config is None else load_config(config)
    cases = build_split(settings.data).val
    if not cases:
        raise ConfigError(f"{config}: names no validation volumes", "name volumes after RUN")
    return dict(_with_source(case, reading) for case in cases)


def run_settings(run: Path) -> tuple[RunConfig, bool] | None:
    """Return the settings of a run, and whether it was trained on phantoms.

    The result is ``None`` if the folder is not a run. If training data had paths, which a run
    folder does not contain, section ``data`` has its defaults.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = run / SETTINGS
    if not path.is_file():
        return None
    tree = read_json(path)
    data = tree.get("data")
    phantoms = isinstance(data, dict) and not any(map(data.get, _SOURCES))
    return parse_config(tree if phantoms else {**tree, "data": {}}, str(path)), phantoms


def _phantom_settings(run: Path) -> RunConfig:
    found = run_settings(run)
    if found is None:
        raise ConfigError(
            f"{run}: there is no {SETTINGS}, so the volumes to reconstruct are unknown", _GIVE
        )
    settings, phantoms = found
    if not phantoms:
        raise ConfigError(f"{run}: a run folder does not store where its volumes are", _GIVE)
    return settings


def _with_source(
    case: TrainingCase, reading: ReadOptions | None
) -> tuple[Case, Callable[[], Volume]]:
    given = reading is not None and reading != ReadOptions()
    if isinstance(case, FileCase):
        # Options of the command take precedence over those in a datalist.
        chosen = reading if given else case.options
        return Case(case.path, case.key), partial(read_volume, case.path, chosen)
    if given:
        raise ConfigError(
            "options of reading have no effect on phantoms",
            "leave them out, or name volumes after RUN",
        )
    return Case(Path(case.key), case.key), case.load
