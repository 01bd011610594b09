"""From the name of a quantiser and its numbers to the quantiser."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from ct_vae.config.model import DEFAULT_LEVELS
from ct_vae.errors import ConfigError
from ct_vae.models.quantizers.ema_codebook import EMACodebook
from ct_vae.models.quantizers.finite_scalar import FiniteScalar
from ct_vae.models.quantizers.lookup_free import LookupFree
from ct_vae.models.quantizers.quantized import Quantizer

QuantizerKind = Literal["ema", "fsq", "lfq"]


def make_quantizer(
    kind: QuantizerKind,
    embed_dim: int | None = None,
    codebook_size: int | None = None,
    levels: Sequence[int] | None = None,
    decay: float = 0.99,
    normalize_codes: bool = False,
) -> Quantizer:
    """A quantiser, with what follows from its other numbers checked or filled in.

    Args:
        kind: ``ema`` is a learnt codebook, ``fsq`` finite scalar, ``lfq`` lookup-free.
        embed_dim: Width of a code: 8 for ``ema``, the number of levels for ``fsq``, the number of
            bits for ``lfq``, 16 by default.
        codebook_size: 8192 for ``ema``; for the others what follows from levels or bits.
        levels: Of ``fsq``; (8, 8, 8, 5, 5, 5) by default.
        decay: Of the moving averages of ``ema``, per step.
        normalize_codes: Whether ``ema`` compares directions only.

    Raises:
        ConfigError: If a number contradicts another or says nothing about this kind.
    """
    if kind not in ("ema", "fsq", "lfq"):
        raise ConfigError(f"quantizer is one of ema, fsq, lfq, got {kind!r}")
    if levels is not None and kind != "fsq":
        raise ConfigError(f"levels {tuple(levels)} say nothing about quantizer {kind!r}")
    if kind == "ema":
        size = 8192 if codebook_size is None else codebook_size
        width = 8 if embed_dim is None else embed_dim
        return EMACodebook(size, width, decay=decay, normalize=normalize_codes)
    if normalize_codes:
        raise ConfigError(f"normalize_codes says nothing about quantizer {kind!r}")
    if kind == "fsq":
        steps = DEFAULT_LEVELS if levels is None else tuple(levels)
        _agree(kind, "embed_dim", embed_dim, len(steps))
        _agree(kind, "codebook_size", codebook_size, prod(steps))
        return FiniteScalar(steps)
    bits = 16 if embed_dim is None else embed_dim
    quantizer = LookupFree(bits)
    _agree(kind, "codebook_size", codebook_size, 2**bits)
    return quantizer


def _agree(kind: str, name: str, given: int | None, follows: int) -> None:
    if given is not None and given != follows:
        raise ConfigError(
            f"{name} {given} contradicts quantizer {kind!r}, from which {follows} follows",
            f"leave {name} out",
        )
