"""Default models of the package, which commands accept by name."""

from __future__ import annotations

from pathlib import Path

from ct_vae.config.package_names import is_package_name, is_unknown_name, name_hint
from ct_vae.errors import WeightsError

_FOLDER = Path(__file__).parents[1] / "weights"


def default_models() -> tuple[str, ...]:
    """Return the names of the default models in this installation, in alphabetical order."""
    if not _FOLDER.is_dir():
        return ()
    return tuple(sorted(p.name for p in _FOLDER.iterdir() if (p / "config.json").is_file()))


def find_model(model: str | Path) -> Path:
    """Return the folder of a model given by its path or by the name of a default model.

    A string equal to the name of a default model refers to that model, even if the working
    directory has a folder of the same name; write ``./NAME`` for the folder. A `Path` object, which
    drops the ``./``, refers to the folder if it exists.

    Args:
        model: A model folder or run folder, a weights file, or a name such as ``ct-f4``.

    Raises:
        WeightsError: If ``model`` looks like a name but is neither a default model nor a folder.
    """
    names = default_models()
    if is_package_name(model, names):
        return _FOLDER / model
    if is_unknown_name(model):
        raise WeightsError(
            f"{model}: no such model folder, and no default model has this name",
            name_hint(model, names, "default models"),
        )
    return Path(model)
