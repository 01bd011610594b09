"""Range of HU that a network represents: given, embedded in an export, or fixed by a format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from pydantic import ValidationError

from ct_vae.config.load import describe
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.convert_weights.checkpoint_format import Form
from ct_vae.convert_weights.checkpoint_formats import FORMATS
from ct_vae.errors import ConfigError, WeightsError

Range = tuple[float, float]
# Default window of this package and of MAISI.
WINDOW_HU = (-1000.0, 1000.0)
_SCALE = "scaling_factor"


@dataclass(frozen=True)
class EmbeddedMetadata:
    """Metadata that an export of this package stores in its weights file.

    Attributes:
        preprocess: Preprocessing from HU to model units, or ``None``.
        scale: Scaling factor of the latent, or ``None``.
    """

    preprocess: PreprocessConfig | None = None
    scale: float | None = None


def export_metadata(preprocess: PreprocessConfig, scale: float) -> dict[str, str]:
    """Return the metadata of an export, each value as JSON."""
    values = {**preprocess.model_dump(), _SCALE: scale}
    return {key: json.dumps(value) for key, value in values.items()}


def read_embedded(metadata: Mapping[str, str], where: str) -> EmbeddedMetadata:
    """Read the metadata of an export; those of other programs are ignored.

    Args:
        metadata: Metadata of a weights file.
        where: Name of the file in messages.

    Raises:
        WeightsError: If they are invalid.
    """
    known = PreprocessConfig.model_fields.keys() & metadata.keys()
    try:
        values = {key: json.loads(metadata[key]) for key in known}
        scale = json.loads(metadata[_SCALE]) if _SCALE in metadata else None
        # Strict validation accepts lists as tuples only in JSON.
        preprocess = PreprocessConfig.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise WeightsError(
            describe(error, PreprocessConfig, f"{where}, metadata of the weights")
        ) from None
    except json.JSONDecodeError as error:
        raise WeightsError(f"{where}, metadata of the weights: not JSON: {error.msg}") from None
    complete = {"window_hu", "model_range"} <= known
    return EmbeddedMetadata(preprocess if complete else None, _positive(scale, where))


def _positive(scale: Any, where: str) -> float | None:
    if scale is None:
        return None
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < inf:
        raise WeightsError(f"{where}: {_SCALE} in the metadata is a positive number, got {scale!r}")
    return float(scale)


def settle(
    form: Form | None,
    own: PreprocessConfig | None,
    window_hu: Range | None,
    model_range: Range | None,
) -> tuple[PreprocessConfig, str]:
    """Determine the preprocessing of a converted model.

    Args:
        form: Source format, or ``None`` for a model folder.
        own: Preprocessing stored in the source; optional.
        window_hu: HU that are represented, if given.
        model_range: Model units of the ends of the window, if given.

    Returns:
        Preprocessing, and a sentence about its origin.

    Raises:
        ConfigError: If the range of the network's images is unknown, or if a range is empty.
    """
    base = own or PreprocessConfig()
    known = base.model_range if own or form is None else FORMATS[form].model_range
    units = model_range or known
    if units is None:
        raise ConfigError(
            "the input range of a MONAI network is unknown",
            "give --model-range, such as 0 1 or -1 1, and --window-hu",
        )
    window = window_hu or (base.window_hu if own else WINDOW_HU)
    try:
        preprocess = PreprocessConfig(
            axcodes=base.axcodes, spacing_mm=base.spacing_mm, window_hu=window, model_range=units
        )
    except ValidationError as error:
        raise ConfigError(describe(error, PreprocessConfig, "--window-hu, --model-range")) from None
    told = _told(form, own is not None, (window_hu is not None, model_range is not None))
    return preprocess, f"{told}: HU {words(window)} are represented as {words(units)}"


def words(pair: Range) -> str:
    """Format a range as text."""
    return f"{pair[0]:g} to {pair[1]:g}"


def _told(form: Form | None, own: bool, given: tuple[bool, bool]) -> str:
    if all(given):
        return "given"
    if any(given):
        return "assumed"
    if own:
        return "kept" if form is None else "read, from the export of this package"
    return "read, as in every MAISI network" if form == "maisi" else "assumed"
