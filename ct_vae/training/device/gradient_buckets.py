"""Averaging of gradients over ranks while the backward pass still computes others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import distributed, nn

from ct_vae.training.distributed import DistributedContext

# As DistributedDataParallel: large enough for the network, small enough to begin early.
_BUCKET_BYTES = 25 * 2**20


class GradientBuckets:
    """Averages the gradients of parameters over ranks, bucket by bucket.

    DistributedDataParallel cannot be used, since it owns the forward pass, and an adversary, an
    adaptive weight and accumulation need several. As there, parameters are put into buckets in the
    reverse of their order, and each bucket is sent once its gradients are complete and the buckets
    before it have been sent, so that all ranks send in the same order.

    Args:
        parameters: Parameters in the order of the network.
        world: Ranks to average over; nothing is done for one rank.
        bucket_bytes: Size of a bucket, except for larger parameters.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        world: DistributedContext,
        bucket_bytes: int = _BUCKET_BYTES,
    ) -> None:
        self._parameters = parameters
        self._world = world
        self._armed = False
        self._buckets: list[list[nn.Parameter]] = []
        self._missing: list[set[int]] = []
        self._sent: list[tuple[list[nn.Parameter], torch.Tensor, Any]] = []
        if world.size > 1:
            self._buckets = _buckets(parameters, bucket_bytes)
            for number, bucket in enumerate(self._buckets):
                for parameter in bucket:
                    hook = partial(self._complete, number)
                    parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    def arm(self) -> None:
        """Send buckets from now on as soon as they are complete, until `finish`."""
        self._armed = distributed.is_initialized()
        self._missing = [set(map(id, bucket)) for bucket in self._buckets]

    def finish(self) -> None:
        """Replace all gradients by their averages over the ranks.

        Buckets that were not sent, because the last backward pass gave some of their parameters no
        gradient, are averaged here.
        """
        done: set[int] = set()
        for parameters, flat, work in self._sent:
            work.wait()
            done.update(map(id, parameters))
            _scatter(flat / self._world.size, parameters)
        self._sent = []
        self._armed = False
        self._world.mean_gradients([p for p in self._parameters if id(p) not in done])

    def _complete(self, number: int, parameter: nn.Parameter) -> None:
        """Note that a gradient is complete, and send the buckets that are."""
        if not self._armed:
            return
        self._missing[number].discard(id(parameter))
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            bucket = self._buckets[len(self._sent)]
            flat = torch.cat([_gradient(p).reshape(-1) for p in bucket])
            self._sent.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))


def _buckets(parameters: Sequence[nn.Parameter], size: int) -> list[list[nn.Parameter]]:
    """Divide the parameters that learn into buckets of one dtype, the last parameters first."""
    buckets: list[list[nn.Parameter]] = []
    filled = 0
    for parameter in reversed([p for p in parameters if p.requires_grad]):
        bytes_needed = parameter.numel() * parameter.element_size()
        fits = buckets and buckets[-1][0].dtype == parameter.dtype
        if not fits or filled + bytes_needed > size:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += bytes_needed
    return buckets


def _scatter(flat: torch.Tensor, parameters: Sequence[nn.Parameter]) -> None:
    parts = torch.split(flat, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        gradient = _gradient(parameter)
        gradient.copy_(part.view(gradient.shape))


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad
