"""A learned codebook that follows the latents by moving averages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import distributed
from torch.nn import functional

from ct_vae.errors import ConfigError
from ct_vae.models.quantizers.quantized import (
    Quantized,
    Quantizer,
    channels_second,
    code_counts,
    straight_through,
)

# Codes looked at in one go, and pairs of latent and code, in float64. On a CPU, 8 MB stay in the
# cache and are a third faster on one idle core than 32 MB, but threads then wait for each other
# four times as often, which costs more wherever cores are shared. A GPU is kept busy by 128 MB.
_CODES_AT_ONCE = 8192
_PAIRS_ON_CPU, _PAIRS_ELSEWHERE = 2**22, 2**24
_SMALLEST_NORM = 1e-6
_JITTER = 0.01


class EMACodebook(Quantizer):
    """Nearest of learned codes, which follow the latents that chose them.

    Van den Oord et al. 2017, appendix A.1: of every code, moving averages of how many latents
    chose it and of their sum; the code is their ratio. In training mode, every forward pass is
    one update (an activation checkpoint around this module would make it two). The first one
    draws the codes from its latents. Codes that are not chosen do not move; after
    ``revive_after`` updates without a latent they are placed on latents of that batch, with
    averages to match, so that they stay there. Which latents are drawn depends on nothing but the
    number of updates so far, so a resumed training goes on as it would have.

    Under ``torch.distributed``, all ranks hold the same codebook: they add up what they counted
    and put together what they drew. A batch with a value that is not finite, on any rank, changes
    nothing.

    Args:
        codebook_size: Number of codes.
        width: Channels of the latent.
        decay: Share of the moving averages that is kept in an update, in [0, 1).
        normalize: Whether latents and codes are brought to norm 1 (Yu et al. 2022, section 3.2).
        revive_after: Updates without a latent after which a code is placed anew; ``None``: never.

    Attributes:
        codes: ``(codebook_size, width)``.
        counts: ``(codebook_size,)``, moving average of the latents of each code per update.
        sums: ``(codebook_size, width)``, moving average of the sums of these latents.
        idle: ``(codebook_size,)``, updates since a latent last chose each code.
        updates: Number of updates so far.
        initialised: Whether the codes have been drawn from latents.

    Raises:
        ConfigError: If a number makes no sense.
    """

    codes: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor
    idle: torch.Tensor
    updates: torch.Tensor
    initialised: torch.Tensor

    def __init__(
        self,
        codebook_size: int = 8192,
        width: int = 8,
        decay: float = 0.99,
        normalize: bool = False,
        revive_after: int | None = 100,
    ) -> None:
        super().__init__(codebook_size, width)
        if not 0 <= decay < 1:
            raise ConfigError(f"the decay of a codebook lies in [0, 1), got {decay}")
        if revive_after is not None and revive_after < 1:
            raise ConfigError(f"a code is revived after at least 1 update, got {revive_after}")
        self.decay, self.normalize, self.revive_after = decay, normalize, revive_after
        codes = self._on_sphere(torch.randn(codebook_size, width))
        self.register_buffer("codes", codes)
        # One latent each: a moving average that starts at zero would divide by next to nothing.
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", codes.clone())
        self.register_buffer("idle", torch.zeros(codebook_size, dtype=torch.long))
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, z: torch.Tensor) -> Quantized:
        """Quantize ``(B, width, *spatial)``; in training mode, update the codebook as well.

        ``losses["commitment"]`` is the mean squared distance of a latent's element to its code's.

        Raises:
            InputError: If it has another number of channels, or no voxel.
        """
        vectors = self._on_sphere(self._vectors(z))
        rows = vectors.detach().flatten(0, -2)
        if self.training:
            self._initialize(rows)
        indices = nearest_code(rows, self.codes)
        chosen = self.codes[indices].to(vectors.dtype).view_as(vectors)
        if self.training:
            self._update(rows, indices)
        losses = {"commitment": (vectors - chosen).square().mean()}
        shaped = indices.view(vectors.shape[:-1])
        return self._quantized(straight_through(vectors, chosen), shaped, z.dtype, losses)

    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Nearest codes of a latent ``(B, width, *spatial)``; codes are mapped to themselves.

        Raises:
            InputError: If it has another number of channels, or no voxel.
        """
        vectors = self._on_sphere(self._vectors(latent))
        indices = nearest_code(vectors.detach().flatten(0, -2), self.codes)
        chosen = self.codes[indices].to(vectors.dtype).view_as(vectors)
        return channels_second(straight_through(vectors, chosen), latent.dtype)

    def _codes_of(self, indices: torch.Tensor) -> torch.Tensor:
        return self.codes[indices]

    def _on_sphere(self, vectors: torch.Tensor) -> torch.Tensor:
        if not self.normalize:
            return vectors
        return functional.normalize(vectors, dim=-1, eps=_SMALLEST_NORM)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _initialize(self, rows: torch.Tensor) -> None:
        if self.codes.dtype in (torch.float16, torch.bfloat16):
            raise ConfigError(
                f"moving averages of a codebook do not work in {self.codes.dtype}",
                "keep the model in float32 and train under autocast",
            )
        if self.initialised:
            return
        drawn = self._draw(rows, self.codebook_size)
        if drawn.isfinite().all():
            self._place(torch.ones_like(self.idle, dtype=torch.bool), drawn)
            self.initialised.fill_(True)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _update(self, rows: torch.Tensor, indices: torch.Tensor) -> None:
        """Move the codes towards the latents ``(N, width)`` that chose them."""
        batch = self.sums.new_zeros(self.codebook_size, 1 + self.width)
        batch[:, 0] = code_counts(indices, self.codebook_size)
        batch[:, 1:].index_add_(0, indices, rows.to(batch.dtype))
        if _world() > 1:
            distributed.all_reduce(batch)
        # Every latent is in a sum, those of other ranks too: all ranks decide alike.
        if not batch.isfinite().all():
            return
        new_counts, new_sums = batch[:, 0], batch[:, 1:]
        self.counts.lerp_(new_counts, 1 - self.decay)
        self.sums.lerp_(new_sums, 1 - self.decay)
        chosen = new_counts > 0
        means = self.sums / self.counts.unsqueeze(1)
        # Codes without a latent stay to the last bit: their averages shrink until their ratio is
        # rounding alone. On the sphere, latents that cancel out have no direction to follow.
        follows = chosen & (means.norm(dim=1) > _SMALLEST_NORM) if self.normalize else chosen
        self.codes.copy_(torch.where(follows.unsqueeze(1), self._on_sphere(means), self.codes))
        self.idle.add_(1).masked_fill_(chosen, 0)
        self.updates.add_(1)
        self._revive(rows)

    def _revive(self, rows: torch.Tensor) -> None:
        if self.revive_after is None:
            return
        dead = self.idle >= self.revive_after
        amount = int(dead.sum())
        if amount:
            self._place(dead, self._draw(rows, amount))

    def _place(self, which: torch.Tensor, vectors: torch.Tensor) -> None:
        """Put codes on vectors, as if each had been chosen by one latent per update so far."""
        self.codes[which] = vectors
        self.sums[which] = vectors
        self.counts[which] = 1.0
        self.idle[which] = 0

    def _draw(self, rows: torch.Tensor, amount: int) -> torch.Tensor:
        """``amount`` of the latents of all ranks, with noise where there are too few.

        The same ones on all ranks, and on one rank that holds the latents of several in turn.
        """
        generator = torch.Generator().manual_seed(int(self.updates))
        shares = _shares(rows)
        total = sum(shares)
        repeats = -(-amount // total)
        order = torch.randperm(total, generator=generator).repeat(repeats)[:amount]
        drawn = self._gather(rows, order.to(rows.device), shares)
        if repeats > 1:
            noise = torch.randn(drawn[total:].shape, generator=generator)
            spread = drawn[:total].std(dim=0, correction=0)
            repeated = drawn[total:] + _JITTER * spread * noise.to(drawn)
            drawn[total:] = self._on_sphere(repeated)
        return drawn

    def _gather(
        self, rows: torch.Tensor, places: torch.Tensor, shares: Sequence[int]
    ) -> torch.Tensor:
        """Latents of all ranks by their place among all of them, rank after rank."""
        if len(shares) == 1:
            return rows[places].to(self.codes.dtype)
        own = places - sum(shares[: distributed.get_rank()])
        here = (own >= 0) & (own < len(rows))
        drawn = self.codes.new_zeros(len(places), self.width)
        drawn[here] = rows[own[here]].to(drawn.dtype)
        distributed.all_reduce(drawn)
        return drawn


@torch.no_grad()
def nearest_code(rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Indices ``(N,)`` of the nearest of codes ``(K, width)`` for each of rows ``(N, width)``.

    The first one where several are equally near. Works in pieces, so that memory does not grow
    with N times K, and in float64: squares less products would else lose codes that lie close
    together far from zero, and GPUs may round the factors of products in float32 to TF32.
    """
    at_once = min(len(codes), _CODES_AT_ONCE)
    pairs = _PAIRS_ON_CPU if rows.device.type == "cpu" else _PAIRS_ELSEWHERE
    step = min(len(rows), max(1, pairs // at_once))
    pieces = [
        (-2 * part.T, part.square().sum(dim=1)) for part in torch.split(codes.double(), at_once)
    ]
    found = torch.empty(len(rows), dtype=torch.long, device=rows.device)
    # One buffer for all: as many allocations in turn scatter over the heap of a CPU until it has
    # grown to gigabytes.
    room = torch.empty(step * at_once, dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), step):
        some = rows[start : start + step].double()
        found[start : start + step] = _nearest_in(some, pieces, room)
    return found


def _nearest_in(
    rows: torch.Tensor, pieces: list[tuple[torch.Tensor, torch.Tensor]], room: torch.Tensor
) -> torch.Tensor:
    found = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
    smallest = torch.full_like(rows[:, 0], torch.inf)
    first = 0
    for directions, squares in pieces:
        # |z - c|^2 less |z|^2, which all codes share.
        table = room[: len(rows) * len(squares)].view(len(rows), len(squares))
        torch.addmm(squares, rows, directions, out=table)
        distance, index = table.min(dim=1)
        closer = distance < smallest
        found = torch.where(closer, index + first, found)
        smallest = torch.where(closer, distance, smallest)
        first += len(squares)
    return found


def _world() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def _shares(rows: torch.Tensor) -> list[int]:
    """How many latents each rank holds: the last batch of one may be smaller than another's."""
    if _world() == 1:
        return [len(rows)]
    shares = torch.zeros(_world(), dtype=torch.long, device=rows.device)
    shares[distributed.get_rank()] = len(rows)
    distributed.all_reduce(shares)
    return [int(share) for share in shares]
