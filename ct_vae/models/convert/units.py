"""What a network takes HU as: told, written in an export, or fixed by a format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from pydantic import ValidationError

from ct_vae.config.load import describe
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.models.convert.peer import Form
from ct_vae.models.convert.peers import PEERS

Range = tuple[float, float]
# What of CT is represented unless told otherwise: the house's window, and MAISI's.
WINDOW_HU = (-1000.0, 1000.0)
_SCALE = "scaling_factor"


@dataclass(frozen=True)
class Carried:
    """What an export of this package says in its weights file, where a peer has no place for it.

    Attributes:
        preprocess: From HU to model units, or ``None``.
        scale: Of the latent, or ``None``.
    """

    preprocess: PreprocessConfig | None = None
    scale: float | None = None


def texts(preprocess: PreprocessConfig, scale: float) -> dict[str, str]:
    """The texts beside the weights of an export, each JSON."""
    values = {**preprocess.model_dump(), _SCALE: scale}
    return {key: json.dumps(value) for key, value in values.items()}


def carried(beside: Mapping[str, str], where: str) -> Carried:
    """What the texts beside weights say, nothing where they are of another program.

    Args:
        beside: Texts of a weights file.
        where: What the file is called in messages.

    Raises:
        WeightsError: If they were changed to what makes no sense.
    """
    known = PreprocessConfig.model_fields.keys() & beside.keys()
    try:
        values = {key: json.loads(beside[key]) for key in known}
        scale = json.loads(beside[_SCALE]) if _SCALE in beside else None
        # Strict mode takes lists for tuples only when the source is JSON.
        preprocess = PreprocessConfig.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise WeightsError(
            describe(error, PreprocessConfig, f"{where}, texts beside the weights")
        ) from None
    except json.JSONDecodeError as error:
        raise WeightsError(f"{where}, texts beside the weights: not JSON: {error.msg}") from None
    complete = {"window_hu", "model_range"} <= known
    return Carried(preprocess if complete else None, _positive(scale, where))


def _positive(scale: Any, where: str) -> float | None:
    if scale is None:
        return None
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < inf:
        raise WeightsError(
            f"{where}: {_SCALE} beside the weights is a positive number, got {scale!r}"
        )
    return float(scale)


def settle(
    form: Form | None,
    own: PreprocessConfig | None,
    window_hu: Range | None,
    model_range: Range | None,
) -> tuple[PreprocessConfig, str]:
    """The preprocessing of a converted model, and a sentence about where it comes from.

    Args:
        form: Of the peer, or ``None`` of a model folder.
        own: What the source itself says.
        window_hu: HU that are represented, if somebody tells.
        model_range: What the network takes them as, if somebody tells.

    Raises:
        ConfigError: If nothing tells the range of the network's images, or if a range is none.
    """
    base = own or PreprocessConfig()
    known = base.model_range if own or form is None else PEERS[form].model_range
    units = model_range or known
    if units is None:
        raise ConfigError(
            "nothing tells what values a MONAI network takes HU as",
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
    return preprocess, f"{told}: HU {words(window)} are given to the network as {words(units)}"


def words(pair: Range) -> str:
    """A range in words."""
    return f"{pair[0]:g} to {pair[1]:g}"


def _told(form: Form | None, own: bool, given: tuple[bool, bool]) -> str:
    if all(given):
        return "given"
    if any(given):
        return "assumed"
    if own:
        return "kept" if form is None else "read, from the export of this package"
    return "read, as every MAISI network has it" if form == "maisi" else "assumed"
