"""Writing of a trained model as a MONAI Bundle."""

from __future__ import annotations

import io
import json
import os
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch

from ct_vae.bundle.configs import LOGGING, bundle_configs
from ct_vae.bundle.metadata import Imprint, bundle_metadata
from ct_vae.bundle.network import load_part
from ct_vae.bundle.readme import bundle_readme
from ct_vae.config.model_folder import ModelFolderConfig
from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError
from ct_vae.io.atomic.folder import atomic_folder
from ct_vae.io.walk import real_path
from ct_vae.models.model_folder import CARD, CONFIG, SUMS, load_model_folder
from ct_vae.models.weights import WEIGHTS, load_metadata
from ct_vae.progress import report_stage
from ct_vae.training.reporting.run_log import METRICS, is_validation, read_log

# Key of the run configuration in the metadata of a weights file.
_RUN_KEY = "ct_vae_run"
METADATA = "configs/metadata.json"
# Contents of a bundle; runs and evaluations in its folder do not belong to it.
_OURS = {"LICENSE", "configs", "docs", "models"}


def write_bundle(
    model_folder: Path, output: Path, overwrite: bool = False, imprint: Imprint | None = None
) -> None:
    """Write a MONAI Bundle; the folder appears only when it is complete.

    Args:
        model_folder: Model folder or run folder.
        output: Folder of the bundle.
        overwrite: Replace an existing bundle or empty folder.
        imprint: Authors, copyright and version.

    Raises:
        WeightsError: If the model folder is incomplete or damaged.
        ConfigError: If ``output`` is another folder than a bundle, or inside the model folder.
        OutputError: If the bundle exists, or cannot be written.
    """
    _check_place(output, model_folder, overwrite)
    report_stage("loading the model")
    loaded = load_model_folder(model_folder)
    report_stage("writing the bundle")
    run = _settings(model_folder, loaded.config)
    measured = _measured(model_folder, loaded.config)
    metadata = bundle_metadata(loaded.config, loaded.model, measured, imprint)
    files = {
        "LICENSE": _license(),
        "docs/README.md": bundle_readme(metadata).encode(),
        "configs/logging.conf": LOGGING.encode(),
        METADATA: _json(metadata),
        "models/model.pt": _plain_tensors(load_part("reconstruct", loaded)),
    }
    for name, content in bundle_configs(loaded.config, run).items():
        files[f"configs/{name}"] = _json(content)
    for name in (CONFIG, CARD, WEIGHTS, SUMS):
        files[f"models/{name}"] = (model_folder / name).read_bytes()
    with atomic_folder(output, overwrite) as folder:
        for name, data in files.items():
            folder.write(name, data)


def _check_place(output: Path, model_folder: Path, overwrite: bool) -> None:
    place, model = real_path(output), real_path(model_folder)
    if place in (model, *model.parents):
        raise ConfigError(f"{output}: contains the model itself", "choose another folder for -o")
    if model in place.parents:
        raise ConfigError(f"{output}: is inside the model folder", "choose another folder for -o")
    names = set(_names_in(place)) if overwrite else set()
    strange = sorted(names - _OURS)
    if strange or (names and not os.path.exists(place / METADATA)):  # noqa: PTH110
        what = f": {', '.join(strange[:3])}" if strange else ""
        raise ConfigError(
            f"{output}: contains other files than a bundle, and is not replaced{what}",
            "choose another folder for -o",
        )


def _names_in(folder: Path) -> list[str]:
    """Return the names in a folder; an empty list if it cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _plain_tensors(network: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    state = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    torch.save(state, buffer)
    return buffer.getvalue()


def _settings(folder: Path, config: ModelFolderConfig) -> RunConfig:
    """Return the configuration of the run without data paths, or defaults for converted models."""
    text = load_metadata(folder).get(_RUN_KEY)
    tree: dict[str, Any] = {} if text is None else json.loads(text)
    data = tree.get("data", {})
    kept = {key: data[key] for key in ("phantoms", "augment", "resize_to") if data.get(key)}
    sections = {
        "model": config.model.model_dump(mode="json", exclude={"ckpt_path"}),
        "preprocess": config.preprocess.model_dump(mode="json"),
        "inference": config.inference.model_dump(mode="json"),
        "data": kept,
        "training": {
            **tree.get("training", {}),
            "output_dir": None,
            "perceptual_weights_path": None,
        },
    }
    if tree.get("training", {}).get("perceptual_weights_path"):
        # The loss needs a file that is not in the bundle.
        sections["training"]["perceptual_weight"] = 0.0
    return RunConfig.model_validate_json(json.dumps(sections))


def _measured(folder: Path, config: ModelFolderConfig) -> dict[str, float]:
    """Return the validation metrics of the checkpoint of the model."""
    # The best model is in a subfolder of the run, which contains the log.
    logs = [where / METRICS for where in (folder, folder.parent) if (where / METRICS).is_file()]
    for line in reversed(read_log(logs[0]) if logs else []):
        if is_validation(line) and line["samples_seen"] == config.samples_seen:
            return {k: float(v) for k, v in line.items() if k.startswith("val_")}
    return {}


def _license() -> bytes:
    for path in distribution("ct_vae").files or ():
        if re.fullmatch(r".*dist-info/(licenses/)?LICENSE", str(path)):
            return Path(str(path.locate())).read_bytes()
    return (Path(__file__).parents[2] / "LICENSE").read_bytes()


def _json(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree, indent=4).encode() + b"\n"
