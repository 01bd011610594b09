"""A network with its optimizer: accumulation, averaging and clipping of gradients, and updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from ct_vae.training.device.gradient_buckets import GradientBuckets
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.optim import SHARE
from ct_vae.training.precision import Precision


class OptimizedNetwork:
    """A network with its optimizer.

    Args:
        module: Network to train.
        optimizer: Optimizer of its parameters.
        grad_clip: Largest norm of the gradient, or ``None``.
        precision: Precision, for the scaling of losses in half precision.
        world: Ranks to average gradients over.
        lr_share: Learning rate relative to that of the autoencoder.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        grad_clip: float | None,
        precision: Precision,
        world: DistributedContext,
        lr_share: float = 1.0,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.scaler = precision.scaler()
        self._grad_clip = math.inf if grad_clip is None else grad_clip
        self._buckets = GradientBuckets(_parameters(optimizer), world)
        self._lr_share = lr_share

    def begin(self, lr: float) -> None:
        """Reset gradients and set the learning rate for a rate ``lr`` of the autoencoder."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * self._lr_share * group.get(SHARE, 1.0)
        self.optimizer.zero_grad(set_to_none=True)

    def average_in_next_pass(self) -> None:
        """Average gradients over ranks while the next backward pass, the step's last, computes."""
        self._buckets.arm()

    def add(self, loss: torch.Tensor) -> None:
        """Add the gradient of a loss."""
        torch.autograd.backward(self.scaler.scale(loss))

    def norm(self) -> torch.Tensor:
        """Average gradients over ranks, clip them, and return their norm before clipping."""
        parameters = _parameters(self.optimizer)
        self._buckets.finish()
        if self.is_fused:
            _match_strides(parameters)
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
        return nn.utils.clip_grad_norm_(parameters, self._grad_clip)

    def step(self) -> None:
        """Apply the gradients."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def step_if(self, finite: torch.Tensor) -> None:
        """Apply the gradients if ``finite``, a scalar on the device, is true; else discard them.

        The host does not wait for the device, for which the optimizer must be fused.
        """
        # As GradScaler does, which would only consider the gradients of this network.
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.step()
        self.scaler.update()

    @property
    def is_fused(self) -> bool:
        """True if the optimizer is fused, as `step_if` needs."""
        return bool(self.optimizer.defaults.get("fused"))

    def skip(self) -> None:
        """Discard the gradients; in half precision, reduce the scale of the next losses."""
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the state of optimizer and gradient scaler by name."""
        moments = {
            f"{number}.{name}": value
            for number, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        scale = {f"scaler.{k}": torch.tensor(v) for k, v in self.scaler.state_dict().items()}
        return moments | scale

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the result of `state`."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        scaler = {}
        for key, value in state.items():
            owner, name = key.split(".", 1)
            if owner == "scaler":
                scaler[name] = value.item()
            else:
                moments.setdefault(int(owner), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._lay_out()
        if scaler:
            self.scaler.load_state_dict(scaler)

    def _lay_out(self) -> None:
        # Moments get the memory format of their parameters, as without an interruption.
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if name != "step":
                    values[name] = torch.empty_like(parameter).copy_(value)


def _match_strides(parameters: Sequence[nn.Parameter]) -> None:
    """Give gradients the strides of their parameters, without which the fused AdamW of GPUs fails.

    Weights of 1-wide convolutions have several possible strides in channels-last order, and their
    gradients come with others.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


@contextmanager
def restored_unless_kept(
    networks: Sequence[OptimizedNetwork],
) -> Iterator[Callable[[torch.Tensor | None], None]]:
    """Restore the buffers of networks, such as the averages of a codebook, after the context.

    Yields:
        Function that keeps the new values: all of them, or if a condition on the device is true.
    """
    buffers = [buffer for network in networks for buffer in network.module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    kept = False

    def keep(condition: torch.Tensor | None = None) -> None:
        nonlocal kept
        kept = True
        if condition is not None:
            _restore(torch.where(condition, *pair) for pair in zip(buffers, before, strict=True))

    @torch.no_grad()
    def _restore(values: Iterable[torch.Tensor]) -> None:
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)

    try:
        yield keep
    finally:
        if not kept:
            _restore(before)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
