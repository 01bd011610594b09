"""Run configurations of the package, which commands accept by name."""

from __future__ import annotations

from pathlib import Path

from ct_vae.config.package_names import is_package_name, is_unknown_name, name_hint
from ct_vae.errors import ConfigError

_FOLDER = Path(__file__).parent / "shipped"
SCHEMA = _FOLDER / "schema.json"
"""JSON Schema of configurations, as ``ct-vae config schema`` prints it."""


def shipped_configs() -> tuple[str, ...]:
    """Return the names of the configurations in the package, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json") if path != SCHEMA))


def find_config(config: str | Path) -> Path:
    """Return the file of a configuration given by its path or by a name such as ``quickstart``.

    ``./quickstart`` is a file of that name.

    Raises:
        ConfigError: If ``config`` looks like a name, but there is neither a configuration nor a
            file of that name.
    """
    names = shipped_configs()
    if is_package_name(config, names):
        return _FOLDER / f"{config}.json"
    if is_unknown_name(config):
        raise ConfigError(
            f"{config}: no such file, and no configuration of the package has this name",
            name_hint(config, names, "configurations"),
        )
    return Path(config)
