"""Conversion of weights of other projects, for ``quality.py``.

Unlike ``ct-vae convert``, it reads YAML configurations such as those of MedVAE, and assumes the 32
groups of MAISI, OpenVAE and MedVAE where the configuration does not state their number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ct_vae.convert_weights.folder import open_origin, save_converted
from ct_vae.convert_weights.foreign_files import read_foreign
from ct_vae.errors import ConfigError

_GROUPS = 32


def convert(text: str, folder: Path) -> Path:
    """Convert weights given as ``[NAME=]WEIGHTS[,CONFIG]`` and print what was assumed.

    Args:
        text: Weights file or folder, with a name (default: that of the file) and a configuration.
        folder: Where to write the model folder, which is named like the model.

    Raises:
        CtVaeError: If the weights or the configuration cannot be read.
    """
    name, named, rest = text.partition("=")
    source, _, config = (rest if named else text).partition(",")
    weights = Path(source)
    model = folder / (name if named else weights.stem)
    settings = _complete(_read_config(Path(config)) if config else {}, _groups_key(weights))
    origin = open_origin(weights, settings)
    # MONAI networks take any range; those for CT are trained on [0, 1].
    model_range = (0.0, 1.0) if origin.form == "monai" else None
    for line in save_converted(model, origin, model.name, None, model_range):
        print(f"{model.name}: {line}")
    return model


def _read_config(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        found: Any = json.loads(text)
    else:
        import yaml

        found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is not a configuration", "give the file of the model")
    return found


def _groups_key(weights: Path) -> str:
    """Return the key of the number of groups in configurations of the format of the weights."""
    state, _ = read_foreign(weights)
    compvis = any(name.startswith("encoder.down.") for name in state)
    return "num_groups" if compvis else "norm_num_groups"


def _complete(config: dict[str, Any], key: str) -> dict[str, Any]:
    """Add the number of groups if the configuration, or a section of it, does not state it."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return config if any(key in part for part in parts) else config | {key: _GROUPS}
