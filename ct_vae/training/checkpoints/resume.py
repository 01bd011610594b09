"""Comparison of the configuration of a resumed run with that of its start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError
from ct_vae.training.checkpoints.checkpoint import Checkpoint
from ct_vae.training.checkpoints.content import Content

# Keys that affect the length of a run, its output or its further optimization, but neither the
# networks nor the order of samples.
_FREE = {
    "notes": None,
    "inference": None,
    "data": {"cache_dir"},
    "training": {
        "samples",
        "stop_after",
        "workers",
        "micro_batch_size",
        "precision",
        "compile",
        "augment_on_device",
        "lr",
        "discriminator_lr",
        "schedule",
        "lr_decay",
        "lr_decay_samples",
        "warmup_samples",
        "grad_clip",
        "log_every",
        "save_every",
        "checkpoint_every",
        "patience",
        "most_skipped",
        "tracker",
    },
}
# Keys with paths of data and weights, and with the choice of data, whose content is compared.
_PLACES = {
    ("cases",),
    ("model", "ckpt_path"),
    ("training", "perceptual_weights_path"),
    *(
        ("data", key)
        for key in ("datalist", "csv", "train", "val", "patient_pattern", "val_share", "fold")
    ),
}
_DEFAULTS = RunConfig().as_json()


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], by_content: bool = False
) -> list[str]:
    """Return the differences between two configurations, one line ``key: old -> new`` for each.

    Args:
        before: Configuration at the start of the run, as JSON.
        after: Configuration of the resumed run, as JSON.
        by_content: Ignore paths of data and weights, since their content is compared.

    Raises:
        ConfigError: If a key differs that must not change; lists all such keys.
    """
    found = list(_differences(_filled(before, _DEFAULTS), _filled(after, _DEFAULTS), ()))
    if by_content:
        found = [each for each in found if each[0] not in _PLACES]
    fixed = [f"{'.'.join(path)}: {old} -> {new}" for path, old, new in found if not _free(path)]
    if fixed:
        raise ConfigError(
            f"the run began with another configuration: {'; '.join(fixed)}",
            "put the old values back, or begin a new run in another training.output_dir",
        )
    return [f"{'.'.join(path)}: {old} -> {new}" for path, old, new in found]


def resumed_changes(
    checkpoint: Checkpoint, samples: int, config: Mapping[str, Any], content: Content
) -> list[str]:
    """Return the changes of the configuration since the start of a resumed run.

    Args:
        checkpoint: Checkpoint to resume from.
        samples: Length of the run in samples.
        config: Configuration as JSON, without paths.
        content: Digests of data and weights.

    Raises:
        ConfigError: If something has changed that must stay the same.
    """
    if checkpoint.samples_seen > samples:
        raise ConfigError(
            f"training.samples {samples}: the run has seen {checkpoint.samples_seen} already",
            "choose at least as many",
        )
    # Checkpoints of earlier versions and data sets in Python have no content digests.
    before = checkpoint.settings.get("content") if content.cases else None
    changed = changes(checkpoint.settings["config"], config, by_content=before is not None)
    if before is not None:
        content.check(before)
    return changed


def _filled(tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults of missing keys to a configuration of an older version."""
    filled = dict(defaults) | dict(tree)
    for key, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], value)
    return filled


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, (*path, key))
        elif old != new:
            yield (*path, key), old, new


def _free(path: tuple[str, ...]) -> bool:
    if path[0] not in _FREE:
        return False
    keys = _FREE[path[0]]
    return keys is None or (len(path) > 1 and path[1] in keys)
