"""The data and weights of a run by content: it goes on with the same data, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ct_vae.config.default_models import find_model
from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError
from ct_vae.io.atomic.file import sha256_file
from ct_vae.models.weights import WEIGHTS

_LISTS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Content:
    """Digests of what a run was made from; they name nothing and hold no path.

    Attributes:
        cases: Of the training cases under ``train`` and the validation cases under ``val``, in
            their order; empty where data were given in Python.
        weights: Of weights files, by the key of the configuration that names them.
        keys: Names of the same cases, for messages alone.
    """

    cases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same for a state of the run."""
        cases = {name: list(digests) for name, digests in self.cases.items()}
        return {"cases": cases, "weights": dict(self.weights)}

    def check(self, before: Mapping[str, Any]) -> None:
        """Refuse to go on with other content.

        Args:
            before: What `as_json` gave when the run began.

        Raises:
            ConfigError: With everything that differs.
        """
        told: list[str] = []
        for name, kind in _LISTS.items():
            old, new = before["cases"].get(name, ()), self.cases.get(name, ())
            told += _differences(kind, old, new, self.keys.get(name, ()))
        for key, digest in self.weights.items():
            if before["weights"].get(key) not in (None, digest):
                told.append(f"the weights that {key} names are others")
        if told:
            raise ConfigError(
                f"the run began with other data: {'; '.join(told)}",
                "put back what it began with, or begin a new run in another training.output_dir",
            )


def named_weights(config: RunConfig) -> dict[str, str]:
    """Digests of the weights files that a configuration names, by their keys.

    Raises:
        InputError: If one cannot be read.
    """
    found = {
        "model.ckpt_path": config.model.ckpt_path,
        "training.perceptual_weights_path": config.training.perceptual_weights_path,
    }
    return {key: sha256_file(_file(path)) for key, path in found.items() if path is not None}


def _file(path: str) -> Path:
    place = find_model(path)
    return place / WEIGHTS if place.is_dir() else place


def _differences(
    kind: str, before: Sequence[str], now: Sequence[str], keys: Sequence[str]
) -> list[str]:
    """How two lists of cases differ, in one clause; none if they do not."""
    if list(before) == list(now):
        return []
    if sorted(before) == sorted(now):
        return [f"its {len(now)} {kind} cases had another order"]
    if len(before) != len(now):
        return [f"it had {len(before)} {kind} cases, and there are {len(now)}"]
    others = [key for key, old, new in zip(keys, before, now, strict=True) if old != new]
    return [f"{len(others)} of {len(now)} {kind} cases hold something else, such as {others[0]}"]
