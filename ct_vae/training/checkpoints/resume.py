"""Whether a run may go on under a configuration, and what has changed since it began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError
from ct_vae.training.checkpoints.checkpoint import Checkpoint
from ct_vae.training.checkpoints.content import Content

# Keys that change how long a run is, what it tells, or how it learns from here on, but neither the
# networks nor which sample comes at which place.
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
# Keys that say where data and weights lie, and which of the data are taken: what counts is what is
# found there.
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
    """Differences between two configurations as JSON, one line ``key: old -> new`` for each.

    Args:
        before: With which the run began.
        after: With which it is to go on.
        by_content: Leave out where data and weights lie, since their content is compared.

    Raises:
        ConfigError: If a key differs that must not; all of them are listed.
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
    """What has changed since a run began that goes on from a state.

    Args:
        checkpoint: The state.
        samples: Length of the run.
        config: The configuration as JSON, without paths.
        content: Of data and weights.

    Raises:
        ConfigError: If something has changed that must not.
    """
    if checkpoint.samples_seen > samples:
        raise ConfigError(
            f"training.samples {samples}: the run has seen {checkpoint.samples_seen} already",
            "choose at least as many",
        )
    # Neither states of earlier versions nor data sets in Python tell of content.
    before = checkpoint.settings.get("content") if content.cases else None
    told = changes(checkpoint.settings["config"], config, by_content=before is not None)
    if before is not None:
        content.check(before)
    return told


def _filled(tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of an older version together with the keys that it could not have."""
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
