"""Codebook learned by exponential moving averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed
from torch.nn import functional

from ct_vae.blocks.quantizers.nearest_code import nearest_code
from ct_vae.blocks.quantizers.quantized import (
    Quantized,
    Quantizer,
    channels_second,
    code_counts,
    straight_through,
    world_size,
)
from ct_vae.errors import ConfigError

_SMALLEST_NORM = 1e-6
_JITTER = 0.01


class EMACodebook(Quantizer):
    """Vector quantization with a codebook updated by exponential moving averages.

    Follows van den Oord et al. 2017, appendix A.1: for each code, moving averages of the number and
    the sum of the latents assigned to it; the code is their ratio. In training mode, every forward
    pass is one update (activation checkpointing of this module would make it two). The first update
    initializes the codes from its latents. Codes without latents do not move; after
    ``revive_after`` such updates they are reset to latents of the batch, together with their
    averages. The choice of latents depends only on the number of updates, so a resumed training
    continues exactly. Within `whole_batch`, all forward passes together are one update.

    Under ``torch.distributed``, all ranks have the same codebook: counts and sums are added over
    ranks, and latents are drawn from all ranks. A batch with a value that is not finite, on any
    rank, changes nothing.

    Args:
        codebook_size: Number of codes; defaults to 8192.
        width: Channels of the latent; defaults to 8.
        decay: Decay of the moving averages per update, in [0, 1); defaults to 0.99.
        normalize: If true, normalize latents and codes to norm 1 (Yu et al. 2022, section 3.2);
            defaults to false.
        revive_after: Updates without a latent after which a code is reset; defaults to 100,
            ``None`` disables resets.

    Attributes:
        codes: Codes ``(codebook_size, width)``.
        counts: Moving average of the number of latents per code and update, ``(codebook_size,)``.
        sums: Moving average of the sums of these latents, ``(codebook_size, width)``.
        idle: Updates since a latent was last assigned to each code, ``(codebook_size,)``.
        updates: Number of updates.
        initialised: True after the codes have been initialized from latents.

    Raises:
        ConfigError: If a value is out of range.
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
            raise ConfigError(f"the decay of a codebook is in [0, 1), got {decay}")
        if revive_after is not None and revive_after < 1:
            raise ConfigError(f"a code is revived after at least 1 update, got {revive_after}")
        self.decay, self.normalize, self.revive_after = decay, normalize, revive_after
        codes = self._on_sphere(torch.randn(codebook_size, width))
        self.register_buffer("codes", codes)
        # Start with one latent per code: averages that start at zero would divide by almost zero.
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", codes.clone())
        self.register_buffer("idle", torch.zeros(codebook_size, dtype=torch.long))
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("initialised", torch.tensor(False))
        # Latents and codes of the forward passes of a batch that is split.
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        # What is known of the buffers without reading them from a GPU, for which the host waits:
        # whether the codes are initialized, and the updates in which no code can become idle.
        self._known_ready = False
        self._updates_before_check = 0

    @property
    def looks_ahead(self) -> bool:
        """True until the codes have been initialized."""
        return not self._is_ready()

    def _is_ready(self) -> bool:
        """Return true if the codes have been initialized."""
        if self._known_ready and self._spares_reads:
            return True
        ready = bool(self.initialised)
        # An initialization is undone if its step is skipped; after an update it is from before.
        self._known_ready = ready and int(self.updates) > 0 and not self._parts
        return ready

    @property
    def _spares_reads(self) -> bool:
        return self.idle.device.type != "cpu"

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._known_ready, self._updates_before_check = False, 0
        super()._load_from_state_dict(*args, **kwargs)

    @contextmanager
    def whole_batch(self, latents: Sequence[torch.Tensor] = ()) -> Iterator[None]:
        """Initialize from all latents of a batch, and update once when its parts are done.

        Nothing is updated if an error ends the context.

        Args:
            latents: Inputs ``(B, width, *spatial)`` of all forward passes, if `looks_ahead` is
                true.
        """
        if latents:
            rows = [self._on_sphere(self._vectors(z)).detach().flatten(0, -2) for z in latents]
            self._initialize(torch.cat(rows))
        self._parts = []
        try:
            yield
            if self._parts:
                parts, indices = zip(*self._parts, strict=True)
                self._update(torch.cat(parts), torch.cat(indices))
        finally:
            self._parts = None

    def forward(self, z: torch.Tensor) -> Quantized:
        """Quantize ``(B, width, *spatial)``; in training mode, update the codebook as well.

        ``losses["commitment"]`` is the mean squared difference between latents and their codes.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
        """
        vectors = self._on_sphere(self._vectors(z))
        rows = vectors.detach().flatten(0, -2)
        if self.training:
            self._initialize(rows)
        indices = nearest_code(rows, self.codes)
        chosen = self.codes[indices].to(vectors.dtype).view_as(vectors)
        if self.training:
            self._learn(rows, indices)
        losses = {"commitment": (vectors - chosen).square().mean()}
        shaped = indices.view(vectors.shape[:-1])
        return self._quantized(straight_through(vectors, chosen), shaped, z.dtype, losses)

    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes of ``(B, width, *spatial)``; codes are mapped to themselves.

        Raises:
            InputError: If the input has another number of channels, or no voxels.
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
                f"moving averages of a codebook need float32, got {self.codes.dtype}",
                "keep the model in float32 and train under autocast",
            )
        if self._is_ready():
            return
        drawn = self._draw(rows, self.codebook_size)
        if drawn.isfinite().all():
            self._place(torch.ones_like(self.idle, dtype=torch.bool), drawn)
            self.initialised.fill_(True)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _learn(self, rows: torch.Tensor, indices: torch.Tensor) -> None:
        """Update the codebook, or remember the latents until the batch is complete."""
        if self._parts is None:
            self._update(rows, indices)
        else:
            self._parts.append((rows, indices))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _update(self, rows: torch.Tensor, indices: torch.Tensor) -> None:
        """Move the codes towards the latents ``(N, width)`` assigned to them."""
        batch = self.sums.new_zeros(self.codebook_size, 1 + self.width)
        batch[:, 0] = code_counts(indices, self.codebook_size)
        batch[:, 1:].index_add_(0, indices, rows.to(batch.dtype))
        if world_size() > 1:
            distributed.all_reduce(batch)
        # The sums include the latents of all ranks, so all ranks make the same decision.
        finite = batch.isfinite().all()
        new_counts, new_sums = batch[:, 0], batch[:, 1:]
        counts = self.counts.lerp(new_counts, 1 - self.decay)
        sums = self.sums.lerp(new_sums, 1 - self.decay)
        chosen = new_counts > 0
        means = sums / counts.unsqueeze(1)
        # Codes without a latent are unchanged: their averages decay until the ratio is rounding
        # noise. On the sphere, latents that cancel out have no direction.
        follows = chosen & (means.norm(dim=1) > _SMALLEST_NORM) if self.normalize else chosen
        codes = torch.where(follows.unsqueeze(1), self._on_sphere(means), self.codes)
        older = self.idle + 1
        idle = older.masked_fill(chosen, 0)
        changed = {"counts": counts, "sums": sums, "codes": codes, "idle": idle}
        for name, new in (changed | {"updates": self.updates + 1}).items():
            buffer = self.get_buffer(name)
            buffer.copy_(torch.where(finite, new, buffer))
        self._revive(rows, finite, older.max())

    def _revive(self, rows: torch.Tensor, finite: torch.Tensor, longest: torch.Tensor) -> None:
        """Reset the codes that have been idle for too long.

        Args:
            rows: Latents ``(N, width)`` of the batch.
            finite: True if the codebook has been updated.
            longest: Most updates that a code would have been idle if none had been chosen, which
                also holds if the step is skipped and the update undone.
        """
        if self.revive_after is None:
            return
        if self._updates_before_check > 0 and self._spares_reads:
            self._updates_before_check -= 1
            return
        dead = (self.idle >= self.revive_after) & finite
        amount, most = torch.stack([dead.sum(), longest]).tolist()
        self._updates_before_check = max(0, self.revive_after - most - 1)
        if amount:
            self._place(dead, self._draw(rows, amount))

    def _place(self, which: torch.Tensor, vectors: torch.Tensor) -> None:
        """Set codes to vectors, with averages of one latent per update."""
        self.codes[which] = vectors
        self.sums[which] = vectors
        self.counts[which] = 1.0
        self.idle[which] = 0

    def _draw(self, rows: torch.Tensor, amount: int) -> torch.Tensor:
        """Draw ``amount`` latents from those of all ranks, with noise if there are too few.

        The result is the same on all ranks, and on one rank with the latents of several.
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
        self, rows: torch.Tensor, indices: torch.Tensor, shares: Sequence[int]
    ) -> torch.Tensor:
        """Collect latents of all ranks by their index, counted rank after rank."""
        if len(shares) == 1:
            return rows[indices].to(self.codes.dtype)
        own = indices - sum(shares[: distributed.get_rank()])
        here = (own >= 0) & (own < len(rows))
        drawn = self.codes.new_zeros(len(indices), self.width)
        drawn[here] = rows[own[here]].to(drawn.dtype)
        distributed.all_reduce(drawn)
        return drawn


def _shares(rows: torch.Tensor) -> list[int]:
    """Return the number of latents of each rank; the last batches of ranks may differ in size."""
    if world_size() == 1:
        return [len(rows)]
    shares = torch.zeros(world_size(), dtype=torch.long, device=rows.device)
    shares[distributed.get_rank()] = len(rows)
    distributed.all_reduce(shares)
    return [int(share) for share in shares]
