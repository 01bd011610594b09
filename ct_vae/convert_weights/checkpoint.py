"""Selection of the autoencoder in a checkpoint, and detection of its format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ct_vae.convert_weights.architecture import State
from ct_vae.convert_weights.checkpoint_format import ConversionReport, Form
from ct_vae.convert_weights.monai_names import has_old_steps, is_wrapped
from ct_vae.convert_weights.unsupported import SUPPORTED
from ct_vae.errors import WeightsError

_PREFIX = re.compile(
    r"((?:(?:first_stage_model|module|_orig_mod|vae|autoencoder|model|net)\.)*)(?:en|de)coder\."
)
# Parts of an autoencoder's training checkpoint: discriminator and perceptual network, and a second
# set of averaged weights.
_ASIDE = {"loss": "networks of the training loss", "model_ema": "averaged weights"}
# Latent diffusion stores the measured scale next to the first stage.
_SCALE = "scale_factor"
_QUANTIZED = ("quantize.", "quantizer.", "codebook", "vq.")
_MAISI_KEYS = {"num_splits", "dim_split", "norm_float16", "save_mem"}


def autoencoder_part(
    state: State, report: ConversionReport
) -> tuple[dict[str, torch.Tensor], float | None]:
    """Return the tensors of the autoencoder without the prefix of the checkpoint.

    Args:
        state: All tensors of a checkpoint.
        report: Report that ignored tensors are added to.

    Returns:
        Tensors, and the latent scale of a latent-diffusion checkpoint or ``None``.

    Raises:
        WeightsError: If there is no autoencoder, or more than one.
    """
    prefixes = sorted({match[1] for name in state if (match := _PREFIX.match(name))})
    if not prefixes:
        tops = ", ".join(f"{top} ({n})" for top, n in _tops(state).most_common(5)) or "nothing"
        raise WeightsError(
            f"no autoencoder was found, the names begin with {tops}",
            SUPPORTED,
        )
    if len(prefixes) > 1:
        raise WeightsError(
            f"there are {len(prefixes)} autoencoders, with the prefixes "
            f"{', '.join(repr(p) for p in prefixes)}",
            "save the desired one in a separate file",
        )
    prefix = prefixes[0]
    if prefix:
        report.say(f"read: the autoencoder, with the prefix {prefix}")
    outside = [n for n in state if not n.startswith(prefix) and n != _SCALE]
    inside = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    aside = {name for name in inside if name.split(".")[0] in _ASIDE}
    _tell_aside(outside, {name: inside[name] for name in aside}, report)
    rest = {name: tensor for name, tensor in inside.items() if name not in aside}
    scale = state.get(_SCALE) if prefix else None
    return rest, None if scale is None or scale.numel() != 1 else float(scale)


def recognize(state: State, config: Mapping[str, Any]) -> Form:
    """Detect the format of an autoencoder's weights.

    Args:
        state: Tensors without prefix.
        config: Configuration of the source format, which distinguishes old MONAI from old MAISI
            weights.

    Raises:
        WeightsError: If the format is not supported.
    """
    quantized = [name for name in state if name.startswith(_QUANTIZED)]
    if quantized:
        raise WeightsError(
            f"a quantized autoencoder ({quantized[0]}): only continuous ones are supported",
            SUPPORTED,
        )
    kind = str(config.get("_class_name") or config.get("_target_") or "").rsplit(".", 1)[-1]
    if any(name.startswith(("encoder.down_blocks.", "decoder.up_blocks.")) for name in state):
        return _agreeing("diffusers", kind, "AutoencoderKL")
    if any(name.startswith(("encoder.down.", "decoder.up.")) for name in state):
        return "compvis"
    if any(name.startswith(("encoder.blocks.", "decoder.blocks.")) for name in state):
        return _monai_or_maisi(state, config, kind)
    raise WeightsError(
        f"an autoencoder of unknown format, with names like {', '.join(list(state)[:3])}",
        SUPPORTED,
    )


def _monai_or_maisi(state: State, config: Mapping[str, Any], kind: str) -> Form:
    if is_wrapped(state):
        return _agreeing("maisi", kind, "AutoencoderKlMaisi")
    if any(re.match(r"decoder\.blocks\.\d+\.postconv\.", name) for name in state):
        return _agreeing("monai", kind, "AutoencoderKL")
    if any(re.match(r"decoder\.blocks\.\d+\.deconv\.", name) for name in state):
        raise WeightsError("use_convtranspose: transposed convolutions are not supported")
    if kind == "AutoencoderKlMaisi" or _MAISI_KEYS & config.keys():
        return _agreeing("maisi", kind, "AutoencoderKlMaisi")
    if has_old_steps(state) and not kind:
        raise WeightsError(
            "old names that MONAI Generative and older MAISI share, although they upsample in "
            "different ways (nearest, trilinear)",
            'name the class in the configuration: "_target_": "AutoencoderKL" or '
            '"AutoencoderKlMaisi"',
        )
    return _agreeing("monai", kind, "AutoencoderKL")


def _agreeing(form: Form, kind: str, expected: str) -> Form:
    if kind not in ("", expected):
        raise WeightsError(
            f"the configuration is of {kind}, the names of the weights of {expected} ({form})",
            "give the configuration of these weights",
        )
    return form


def _tell_aside(outside: list[str], training: State, report: ConversionReport) -> None:
    if outside:
        tops = ", ".join(f"{top} ({n})" for top, n in _tops(outside).most_common(6))
        more = ", ..." if len(_tops(outside)) > 6 else ""
        report.say(f"left aside: tensors outside the autoencoder: {tops}{more}")
    for top, number in _tops(training).items():
        report.say(f"left aside: {top} ({number} tensors), {_ASIDE[top]}")


def _tops(names: Iterable[str]) -> Counter[str]:
    return Counter(name.split(".")[0] for name in names)
