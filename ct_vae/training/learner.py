"""A network and its optimiser: gradients gathered, averaged over ranks, clipped, applied."""

from __future__ import annotations

import math

import torch
from torch import nn

from ct_vae.training.distributed import World
from ct_vae.training.optim import SHARE
from ct_vae.training.precision import Precision


class Learner:
    """One side of the training game.

    Args:
        module: Whose parameters are trained.
        optimiser: Over them.
        grad_clip: Largest norm of the gradient, or ``None``.
        precision: Scales losses where gradients would vanish in half precision.
        world: Over which gradients are averaged.
        lr_share: Its learning rate in terms of the autoencoder's.
    """

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        grad_clip: float | None,
        precision: Precision,
        world: World,
        lr_share: float = 1.0,
    ) -> None:
        self.module = module
        self.optimiser = optimiser
        self.scaler = precision.scaler()
        self._grad_clip = math.inf if grad_clip is None else grad_clip
        self._world = world
        self._lr_share = lr_share

    def begin(self, lr: float) -> None:
        """Forget old gradients and set the learning rate, that of the autoencoder being ``lr``."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr * self._lr_share * group.get(SHARE, 1.0)
        self.optimiser.zero_grad(set_to_none=True)

    def add(self, loss: torch.Tensor) -> None:
        """Add the gradient of a loss."""
        torch.autograd.backward(self.scaler.scale(loss))

    def norm(self) -> torch.Tensor:
        """Average gradients over ranks, clip them, and give their norm before clipping."""
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self._world.mean_gradients(parameters)
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimiser)
        return nn.utils.clip_grad_norm_(parameters, self._grad_clip)

    def step(self) -> None:
        """Apply the gradients."""
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def skip(self) -> None:
        """Drop the gradients; in half precision the next losses are scaled less."""
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on besides the parameters, by name."""
        moments = {
            f"{number}.{name}": value
            for number, values in self.optimiser.state_dict()["state"].items()
            for name, value in values.items()
        }
        scale = {f"scaler.{k}": torch.tensor(v) for k, v in self.scaler.state_dict().items()}
        return moments | scale

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take up what `state` gave."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        scaler = {}
        for key, value in state.items():
            owner, name = key.split(".", 1)
            if owner == "scaler":
                scaler[name] = value.item()
            else:
                moments.setdefault(int(owner), {})[name] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self._lay_out()
        if scaler:
            self.scaler.load_state_dict(scaler)

    def _lay_out(self) -> None:
        # Moments lie in memory as their parameters do, as they would without the interruption.
        for parameter, values in self.optimiser.state.items():
            for name, value in values.items():
                if name != "step":
                    values[name] = torch.empty_like(parameter).copy_(value)
