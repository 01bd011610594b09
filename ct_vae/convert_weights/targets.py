"""Output paths of conversions, and checks that nothing valuable is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ct_vae.config.load import read_json
from ct_vae.config.model_folder import MODEL_FORMAT
from ct_vae.convert_weights.checkpoint_format import Form
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.io.walk import real_path
from ct_vae.models.weights import CONFIG_KEY, WEIGHTS, load_metadata

_SAFE = ".safetensors"
_FILES = (".pt", ".pth", ".ckpt", ".bin", ".json")
_CONFIG = "config.json"
_DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"


def model_targets(folder: Path) -> tuple[Path, Path]:
    """Return the paths of weights and configuration of a model folder.

    Raises:
        ConfigError: If the path is that of a file.
    """
    if folder.suffix in (_SAFE, *_FILES) or folder.is_file():
        raise ConfigError(f"-o {folder} names a file, a model is a folder")
    return folder / WEIGHTS, folder / _CONFIG


def export_targets(output: Path, form: Form) -> tuple[Path, Path]:
    """Return the paths of weights and configuration of an export to a file or folder.

    Raises:
        ConfigError: If the path is that of another kind of file.
    """
    if output.suffix == _SAFE:
        return output, output.with_suffix(".json")
    if output.suffix in _FILES or output.is_file():
        raise ConfigError(
            f"-o {output} names another kind of file",
            "an export is a folder or a .safetensors file",
        )
    return output / (_DIFFUSERS_WEIGHTS if form == "diffusers" else WEIGHTS), output / _CONFIG


def refuse_present(targets: Sequence[Path], overwrite: bool) -> None:
    """Check that no target exists, unless overwriting is allowed.

    Raises:
        ConfigError: If a target exists and ``overwrite`` is false.
    """
    present = [path for path in targets if path.exists()]
    if present and not overwrite:
        raise ConfigError(f"{present[0]} already exists", "choose another -o, or --overwrite")


def refuse_source(targets: Sequence[Path], source: Path) -> None:
    """Check that the source, which may be the only copy, is not overwritten.

    Raises:
        ConfigError: If a target is the source or in the source folder.
    """
    read = real_path(source)
    for path in targets:
        place = real_path(path)
        if path.exists() and read in (place, place.parent):
            raise ConfigError(f"{path} is the source of the conversion", "choose another -o")


def refuse_own(targets: Sequence[Path]) -> None:
    """Check that an export does not overwrite a model of this package.

    Raises:
        ConfigError: If a target belongs to a model folder.
    """
    for path in targets:
        if path.is_file() and _is_own(path):
            raise ConfigError(
                f"{path} belongs to a model folder of this package; an export must not replace it",
                "choose another -o",
            )


def _is_own(path: Path) -> bool:
    try:
        if path.suffix == _SAFE:
            return CONFIG_KEY in load_metadata(path)
        return read_json(path).get("format") == MODEL_FORMAT
    except (ConfigError, WeightsError):
        # An unreadable file is not a model.
        return False
