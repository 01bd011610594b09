"""Models that ship with the package, found by their name wherever a model folder is taken."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from ct_vae.errors import WeightsError

_FOLDER = Path(__file__).parents[1] / "weights"


def default_models() -> tuple[str, ...]:
    """Names of the models in this installation, in alphabetical order."""
    if not _FOLDER.is_dir():
        return ()
    return tuple(sorted(p.name for p in _FOLDER.iterdir() if (p / "config.json").is_file()))


def find_model(model: str | Path) -> Path:
    """Folder of a model that is given by a path or by the name of a default model.

    Text that is the name of a default model means that model, even where the working directory has
    a folder of that name, which ``./NAME`` means. A `Path` object, which drops the ``./``, means
    the folder if there is one.

    Args:
        model: A model folder or run folder, a weights file, or a name such as ``ct-f4``.

    Raises:
        WeightsError: If nothing exists at a path that looks like a name, with the names there are.
    """
    text = os.fspath(model)
    names = default_models()
    if text in names and not (isinstance(model, Path) and model.exists()):
        return _FOLDER / text
    path = Path(text)
    bare = path.name == text and not path.suffix
    if bare and not path.exists() and not path.is_symlink():
        near = difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.6)
        there = f"default models are {', '.join(names) or 'not installed'}"
        raise WeightsError(
            f"{text}: no such model folder, and no default model has this name",
            f"did you mean {near[0]}? {there}" if near else there,
        )
    return path
