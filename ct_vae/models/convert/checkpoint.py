"""Which tensors of a checkpoint are the autoencoder, and which format it has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ct_vae.errors import WeightsError
from ct_vae.models.convert.architecture import State
from ct_vae.models.convert.monai_names import has_old_steps, is_wrapped
from ct_vae.models.convert.peer import Account, Form

_PREFIX = re.compile(
    r"((?:(?:first_stage_model|module|_orig_mod|vae|autoencoder|model|net)\.)*)(?:en|de)coder\."
)
# Beside a bare autoencoder: the discriminator and perceptual network of its training, and a
# second set of averaged weights.
_ASIDE = {"loss": "networks of the training loss", "model_ema": "averaged weights"}
# Latent diffusion keeps it beside the first stage when it has measured it.
_SCALE = "scale_factor"
_QUANTIZED = ("quantize.", "quantizer.", "codebook", "vq.")
_MAISI_KEYS = {"num_splits", "dim_split", "norm_float16", "save_mem"}


def autoencoder_part(
    state: State, account: Account
) -> tuple[dict[str, torch.Tensor], float | None]:
    """The tensors of the autoencoder without the prefix that a checkpoint gives them.

    Args:
        state: All tensors of a checkpoint.
        account: Told what was left aside.

    Returns:
        The tensors, and the latent scale that a latent-diffusion checkpoint carries.

    Raises:
        WeightsError: If there is none, or more than one.
    """
    prefixes = sorted({match[1] for name in state if (match := _PREFIX.match(name))})
    if not prefixes:
        tops = ", ".join(f"{top} ({n})" for top, n in _tops(state).most_common(5)) or "nothing"
        raise WeightsError(
            f"no autoencoder was found, the names begin with {tops}",
            "weights of CompVis, diffusers, MONAI and MAISI are read",
        )
    if len(prefixes) > 1:
        raise WeightsError(
            f"there are {len(prefixes)} autoencoders, with the prefixes "
            f"{', '.join(repr(p) for p in prefixes)}",
            "save the one that is meant in a file of its own",
        )
    prefix = prefixes[0]
    if prefix:
        account.say(f"read: the autoencoder, by the prefix {prefix}")
    outside = [n for n in state if not n.startswith(prefix) and n != _SCALE]
    inside = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    aside = {name for name in inside if name.split(".")[0] in _ASIDE}
    _tell_aside(outside, {name: inside[name] for name in aside}, account)
    rest = {name: tensor for name, tensor in inside.items() if name not in aside}
    scale = state.get(_SCALE) if prefix else None
    return rest, None if scale is None or scale.numel() != 1 else float(scale)


def recognize(state: State, config: Mapping[str, Any]) -> Form:
    """The format of an autoencoder's weights.

    Args:
        state: Without prefix.
        config: The peer's configuration, which tells old MONAI weights from old MAISI ones.

    Raises:
        WeightsError: If it is none that is read.
    """
    quantized = [name for name in state if name.startswith(_QUANTIZED)]
    if quantized:
        raise WeightsError(
            f"a quantized autoencoder ({quantized[0]}): only continuous ones are read"
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
        "weights of CompVis, diffusers, MONAI and MAISI are read",
    )


def _monai_or_maisi(state: State, config: Mapping[str, Any], kind: str) -> Form:
    if is_wrapped(state):
        return _agreeing("maisi", kind, "AutoencoderKlMaisi")
    if any(re.match(r"decoder\.blocks\.\d+\.postconv\.", name) for name in state):
        return _agreeing("monai", kind, "AutoencoderKL")
    if any(re.match(r"decoder\.blocks\.\d+\.deconv\.", name) for name in state):
        raise WeightsError("use_convtranspose: transposed convolutions are not in this package")
    if kind == "AutoencoderKlMaisi" or _MAISI_KEYS & config.keys():
        return _agreeing("maisi", kind, "AutoencoderKlMaisi")
    if has_old_steps(state) and not kind:
        raise WeightsError(
            "old names, which MONAI Generative and older MAISI share though they upsample in "
            "different ways (nearest, trilinear)",
            'say in the configuration which it is: "_target_": "AutoencoderKL" or '
            '"AutoencoderKlMaisi"',
        )
    return _agreeing("monai", kind, "AutoencoderKL")


def _agreeing(form: Form, kind: str, expected: str) -> Form:
    if kind not in ("", expected):
        raise WeightsError(
            f"the configuration is of {kind}, the names of the weights of {expected} ({form})",
            "give the configuration that belongs to the weights",
        )
    return form


def _tell_aside(outside: list[str], training: State, account: Account) -> None:
    if outside:
        tops = ", ".join(f"{top} ({n})" for top, n in _tops(outside).most_common(6))
        more = ", ..." if len(_tops(outside)) > 6 else ""
        account.say(f"left aside: what lies outside the autoencoder: {tops}{more}")
    for top, number in _tops(training).items():
        account.say(f"left aside: {top} ({number} tensors), {_ASIDE[top]}")


def _tops(names: Iterable[str]) -> Counter[str]:
    return Counter(name.split(".")[0] for name in names)
