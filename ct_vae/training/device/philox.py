"""Random numbers that are functions of a seed and of a sample's index, drawn on any device.

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
section 3.3), in integer operations of PyTorch. The numbers of a sample depend neither on the other
samples of its batch nor on the device, apart from the rounding of normal numbers. Drawing them
neither copies from the host nor waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, prod

import torch

_MASK = 2**32 - 1
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_UNIT = 2.0**-32


def normal_numbers(
    shape: Sequence[int], seed: int, index: int, stream: int, device: torch.device
) -> torch.Tensor:
    """Draw standard normal numbers for consecutive samples by the method of Box and Muller.

    Args:
        shape: Shape ``(B, ...)`` of the result.
        seed: Seed of the run.
        index: Index of the first sample in the run.
        stream: Number of an independent stream of the sample, below 2^32.
        device: Device of the result.

    Returns:
        Tensor of that shape in float32.
    """
    first, second, third, fourth = random_words(shape, seed, index, stream, device)
    parts = []
    for radius_word, angle_word in ((first, second), (third, fourth)):
        # Above 0, for the logarithm.
        radius = (-2 * ((radius_word.float() + 1) * _UNIT).log()).clamp_min(0).sqrt()
        angle = angle_word.float() * (2 * pi * _UNIT)
        parts += [radius * angle.cos(), radius * angle.sin()]
    return _shaped(parts, shape)


def uniform_numbers(
    shape: Sequence[int], seed: int, index: int, stream: int, device: torch.device
) -> torch.Tensor:
    """Draw numbers in [0, 1) for consecutive samples; arguments are those of `normal_numbers`."""
    words = random_words(shape, seed, index, stream, device)
    # As many bits as float32 has, so that no number is rounded to 1.
    return _shaped([(word >> 8).float() * 2.0**-24 for word in words], shape)


def random_integers(
    count: int, batch: int, seed: int, index: int, stream: int, device: torch.device
) -> torch.Tensor:
    """Draw one integer from 0 to ``count - 1`` for each of ``batch`` consecutive samples."""
    return random_words((batch, 1), seed, index, stream, device)[0][:, 0] % count


def random_words(
    shape: Sequence[int], seed: int, index: int, stream: int, device: torch.device
) -> list[torch.Tensor]:
    """Draw 32-bit integers for consecutive samples; arguments are those of `normal_numbers`.

    Returns:
        Four tensors ``(B, blocks)`` in int64, which together have at least as many numbers as
        ``shape``.
    """
    batch, blocks = shape[0], -(-prod(shape[1:]) // 4)
    samples = torch.arange(index, index + batch, device=device)[:, None]
    block = torch.arange(blocks, device=device)[None]
    counter = [
        block.expand(batch, blocks),
        torch.full((), stream, dtype=torch.int64, device=device),
        samples & _MASK,
        samples >> 32,
    ]
    return philox(counter, (seed & _MASK, seed >> 32 & _MASK))


def philox(counter: Sequence[torch.Tensor], key: tuple[int, int]) -> list[torch.Tensor]:
    """Encrypt counters, ten rounds.

    Args:
        counter: Four tensors of 32-bit words in int64, which can be broadcast to one shape.
        key: Two words.

    Returns:
        Four tensors of words in int64.
    """
    a, b, c, d = counter
    for number in range(_ROUNDS):
        first, second = ((k + number * s) & _MASK for k, s in zip(key, _KEY_STEPS, strict=True))
        # The products need 64 bits without sign; two's complement has the same bits.
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            (q >> 32 & _MASK) ^ b ^ first,
            q & _MASK,
            (p >> 32 & _MASK) ^ d ^ second,
            p & _MASK,
        )
    return [a, b, c, d]


def _shaped(parts: Sequence[torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
    """Interleave the four numbers of each block, and cut off what is too much."""
    numbers = torch.stack(list(parts), dim=-1).flatten(1)
    return numbers[:, : prod(shape[1:])].reshape(tuple(shape))
