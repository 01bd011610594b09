"""From the name of a quantiser and its numbers to the quantiser."""

from __future__ import annotations

from collections.abc import Sequence

from ct_vae.config.codes import DEFAULT_LEVELS, QuantizerKind, codes_of
from ct_vae.errors import ConfigError
from ct_vae.models.choices import entries
from ct_vae.models.quantizers.ema_codebook import EMACodebook
from ct_vae.models.quantizers.finite_scalar import FiniteScalar
from ct_vae.models.quantizers.lookup_free import LookupFree
from ct_vae.models.quantizers.quantized import Quantizer


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
    steps = None if levels is None else entries("levels", levels)
    if steps is not None and kind != "fsq":
        raise ConfigError(f"levels {steps} say nothing about quantizer {kind!r}")
    if normalize_codes and kind != "ema":
        raise ConfigError(f"normalize_codes says nothing about quantizer {kind!r}")
    width, size = codes_of(kind, steps, embed_dim)
    if kind == "ema":
        count = size if codebook_size is None else codebook_size
        return EMACodebook(
            count, width if embed_dim is None else embed_dim, decay=decay, normalize=normalize_codes
        )
    grid = DEFAULT_LEVELS if steps is None else steps
    quantizer = FiniteScalar(grid) if kind == "fsq" else LookupFree(width)
    _agree(kind, "embed_dim", embed_dim, width)
    _agree(kind, "codebook_size", codebook_size, size)
    return quantizer


def _agree(kind: str, name: str, given: int | None, follows: int) -> None:
    if given is not None and given != follows:
        raise ConfigError(
            f"{name} {given} contradicts quantizer {kind!r}, from which {follows} follows",
            f"leave {name} out",
        )
