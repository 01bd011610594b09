"""Removal of paths and patient names from the configuration that a run folder stores."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def redacted(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a copy in which paths are replaced by their number and a digest.

    The digest shows if two runs have the same paths, without revealing them.
    """
    data = dict(tree["data"])
    for key in ("datalist", "csv", "train", "val", "cache_dir", "patient_pattern"):
        if data.get(key):
            data[key] = _digest(data[key])
    model = dict(tree["model"])
    if model.get("ckpt_path"):
        model["ckpt_path"] = _digest(model["ckpt_path"])
    training = {**tree["training"], "output_dir": None}
    for key in ("perceptual_weights_path", "trunk_from"):
        if training.get(key):
            training[key] = _digest(training[key])
    return {**tree, "model": model, "data": data, "training": training}


def _digest(paths: str | list[str]) -> str:
    count = 1 if isinstance(paths, str) else len(paths)
    digest = hashlib.sha256(json.dumps(paths).encode()).hexdigest()
    return f"{count} path(s), sha256 {digest[:16]}"
