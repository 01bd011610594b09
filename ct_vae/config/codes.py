"""Width of a code and size of the codebook for each quantizer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

QuantizerKind = Literal["ema", "fsq", "lfq"]
DEFAULT_LEVELS = (8, 8, 8, 5, 5, 5)
MOST_BITS = 24
# Perplexity and usage count every code; 2^24 counts are 64 MB.
MOST_CODES = 2**MOST_BITS
_EMA = (8, 8192)
_DEFAULT_BITS = 16


def codes_of(
    kind: QuantizerKind, levels: Sequence[int] | None, bits: int | None
) -> tuple[int, int]:
    """Return the default width of a code and size of the codebook.

    An ``ema`` codebook may have other sizes; those of ``fsq`` and ``lfq`` are determined by their
    levels and bits.

    Args:
        kind: Type of quantizer.
        levels: Levels of ``fsq``; defaults to `DEFAULT_LEVELS`.
        bits: Bits of ``lfq``; defaults to 16. The codebook size is computed for at most 24 bits.
    """
    if kind == "ema":
        return _EMA
    if kind == "fsq":
        steps = DEFAULT_LEVELS if levels is None else levels
        return len(steps), prod(steps)
    width = _DEFAULT_BITS if bits is None else bits
    return width, 2 ** min(width, MOST_BITS)


def check_codes(
    kind: QuantizerKind,
    levels: Sequence[int] | None,
    embed_dim: int,
    codebook_size: int,
    normalize_codes: bool,
) -> None:
    """Check that the options of a quantizer are consistent.

    Args:
        kind: Type of quantizer.
        levels: Levels of ``fsq``, else ``None``.
        embed_dim: Width of a code.
        codebook_size: Number of codes.
        normalize_codes: True if an ``ema`` codebook L2-normalizes latents and codes.

    Raises:
        ValueError: If two options contradict each other, or there are too few or too many codes.
    """
    if levels is not None and kind != "fsq":
        raise ValueError(f"levels have no effect with quantizer {kind!r}")
    if normalize_codes and kind != "ema":
        raise ValueError(f"normalize_codes has no effect with quantizer {kind!r}")
    if kind == "lfq" and embed_dim > MOST_BITS:
        raise ValueError(f"embed_dim {embed_dim}: a code has at most {MOST_BITS} bits")
    if kind != "ema":
        _check_following(kind, levels or (2,) * embed_dim, embed_dim, codebook_size)
    if not 2 <= codebook_size <= MOST_CODES:
        cause = "levels give" if kind == "fsq" else "codebook_size is"
        raise ValueError(f"{cause} {codebook_size}: a codebook has 2 to {MOST_CODES} codes")


def _check_following(
    kind: QuantizerKind, levels: Sequence[int], embed_dim: int, codebook_size: int
) -> None:
    if embed_dim != len(levels):
        raise ValueError(f"embed_dim {embed_dim} contradicts {len(levels)} levels, leave it out")
    if codebook_size != prod(levels):
        raise ValueError(
            f"codebook_size {codebook_size} contradicts quantizer {kind!r}, which has "
            f"{prod(levels)} codes; leave it out"
        )
