"""Digests of the data and weights of a run, which must be the same when it resumes."""

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
    """Digests of the data and weights of a run, without names and paths.

    Attributes:
        cases: Digests of the training cases under ``train`` and the validation cases under ``val``,
            in order; empty for data sets in Python.
        weights: Digests of weights files, by key of the configuration.
        keys: Names of the cases, for messages only.
    """

    cases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the digests for a checkpoint."""
        cases = {name: list(digests) for name, digests in self.cases.items()}
        return {"cases": cases, "weights": dict(self.weights)}

    def check(self, before: Mapping[str, Any]) -> None:
        """Check that the content is the same as at the start of the run.

        Args:
            before: Result of `as_json` at the start of the run.

        Raises:
            ConfigError: If the content differs; lists all differences.
        """
        changed: list[str] = []
        for name, kind in _LISTS.items():
            old, new = before["cases"].get(name, ()), self.cases.get(name, ())
            changed += _differences(kind, old, new, self.keys.get(name, ()))
        for key, digest in self.weights.items():
            if before["weights"].get(key) not in (None, digest):
                changed.append(f"the weights of {key} have changed")
        if changed:
            raise ConfigError(
                f"the run began with other data: {'; '.join(changed)}",
                "restore the data, or begin a new run in another training.output_dir",
            )


def named_weights(config: RunConfig) -> dict[str, str]:
    """Return the digests of the weights files in a configuration, by key.

    Raises:
        InputError: If a file cannot be read.
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
    """Return the differences between two lists of cases as one clause; empty if there are none."""
    if list(before) == list(now):
        return []
    if sorted(before) == sorted(now):
        return [f"its {len(now)} {kind} cases had another order"]
    if len(before) != len(now):
        return [f"it had {len(before)} {kind} cases, and there are {len(now)}"]
    others = [key for key, old, new in zip(keys, before, now, strict=True) if old != new]
    return [f"{len(others)} of {len(now)} {kind} cases hold something else, such as {others[0]}"]
