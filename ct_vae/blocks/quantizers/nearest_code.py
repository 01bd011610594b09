"""Nearest codes of latents, in bounded memory."""

from __future__ import annotations

import torch

# Codes, and pairs of latent and code, compared at once, in float64. On a CPU, 8 MB fit into the
# cache and are a third faster on one idle core than 32 MB, but threads then synchronize four times
# as often, which costs more on shared cores. A GPU needs 128 MB to be busy.
_CODES_AT_ONCE = 8192
_PAIRS_ON_CPU, _PAIRS_ELSEWHERE = 2**22, 2**24


@torch.no_grad()
def nearest_code(rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the indices ``(N,)`` of the nearest codes ``(K, width)`` to rows ``(N, width)``.

    Ties are resolved to the first code. Computed in chunks, so that memory does not grow with N
    times K, and in float64: in float32, the expanded square would not distinguish codes that are
    close together and far from zero, and GPUs may use TF32 for products.
    """
    at_once = min(len(codes), _CODES_AT_ONCE)
    pairs = _PAIRS_ON_CPU if rows.device.type == "cpu" else _PAIRS_ELSEWHERE
    step = min(len(rows), max(1, pairs // at_once))
    pieces = [
        (-2 * part.T, part.square().sum(dim=1)) for part in torch.split(codes.double(), at_once)
    ]
    found = torch.empty(len(rows), dtype=torch.long, device=rows.device)
    # One buffer for all chunks: repeated allocations would fragment the heap of a CPU to gigabytes.
    buffer = torch.empty(step * at_once, dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), step):
        some = rows[start : start + step].double()
        found[start : start + step] = _nearest_in(some, pieces, buffer)
    return found


def _nearest_in(
    rows: torch.Tensor, pieces: list[tuple[torch.Tensor, torch.Tensor]], buffer: torch.Tensor
) -> torch.Tensor:
    found = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
    smallest = torch.full_like(rows[:, 0], torch.inf)
    first = 0
    for directions, squares in pieces:
        # |z - c|^2 without |z|^2, which is the same for all codes.
        table = buffer[: len(rows) * len(squares)].view(len(rows), len(squares))
        torch.addmm(squares, rows, directions, out=table)
        distance, index = table.min(dim=1)
        closer = distance < smallest
        found = torch.where(closer, index + first, found)
        smallest = torch.where(closer, distance, smallest)
        first += len(squares)
    return found
