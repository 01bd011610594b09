"""Training steps on PyTorch's device without data: reading from it is an error.

Every place where the host would wait for a GPU fails here, and copies from the host are counted.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.losses.build import build_objective
from ct_vae.models import VQVAE
from ct_vae.training.data.model_units import ToModelUnits
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.ema import AveragedWeights
from ct_vae.training.latent_changes import LatentChanges
from ct_vae.training.optimized_network import OptimizedNetwork
from ct_vae.training.precision import Precision
from ct_vae.training.step import StepSettings, TrainStep
from ct_vae.training.step_metrics import UnreadStep
from tests._small import SMALL_CODES, SMALL_MODEL, small_model

META, CPU = torch.device("meta"), torch.device("cpu")
ADVERSARIAL = {
    "adversarial_weight": 0.1,
    "adversarial_start_samples": 0,
    "discriminator_ch": 4,
    "discriminator_levels": 1,
    "r1_weight": 1.0,
    "r1_every": 2,
    "lecam_weight": 0.1,
    "feature_matching_weight": 1.0,
}
CHANGES = LatentChanges(0.1, "gaussian", (1, 4))


class FusedSGD(torch.optim.SGD):
    """Optimizer that says that it is fused; PyTorch has no fused one for this device."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=1e-3)
        self.defaults["fused"] = True

    @torch.no_grad()
    def step(self):
        assert self.found_inf.device == META
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(parameter.grad)


class Transfers(TorchDispatchMode):
    """Counts copies between the host and the device."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            ends = (args[0], result) if name == "_to_copy" else (args[1], args[0])
            # Numbers of the host become arguments of kernels.
            if ends[0].device != ends[1].device and ends[0].ndim:
                self.counts[f"{ends[0].device.type} to {ends[1].device.type}"] += 1
        return result


def make_step(base, micro_batch, changes, **training):
    config = RunConfig(
        model=base,
        training=TrainingConfig(patch_size=(16, 16, 16), samples=100, batch_size=2, **training),
    )
    model = small_model(base=base)
    objective = build_objective(config, model.output_activation, META)
    model.to(META).train()
    if isinstance(model, VQVAE):
        # As after the first steps, while no code can become idle.
        model.quantizer._known_ready, model.quantizer._updates_before_check = True, 9
    world, precision = DistributedContext(device=META), Precision("fp32", CPU)
    networks = [
        OptimizedNetwork(module, FusedSGD(module.parameters()), 1.0, precision, world)
        for module in (model, objective.adversary)
        if module is not None
    ]
    return TrainStep(
        networks[0],
        objective,
        StepSettings(0, micro_batch, changes=changes),
        precision,
        world,
        networks[1] if len(networks) > 1 else None,
        ToModelUnits(config, META),
    )


@pytest.mark.parametrize(
    ("base", "micro_batch", "changes", "training"),
    [
        (SMALL_MODEL, 2, LatentChanges(), {}),
        (SMALL_MODEL, 1, CHANGES, {}),
        (SMALL_MODEL, 2, LatentChanges(equivariance=True), {"equivariance_weight": 0.1}),
        (SMALL_MODEL, 2, LatentChanges(), {"face_weight": 1.25, "window_weights": {"lung": 0.5}}),
        (SMALL_MODEL, 2, LatentChanges(), ADVERSARIAL),
        (SMALL_MODEL, 1, LatentChanges(), ADVERSARIAL),
        (SMALL_CODES["magvit"], 2, LatentChanges(), {}),
        (SMALL_CODES["vq"], 2, LatentChanges(), {}),
        (SMALL_CODES["vq"], 1, LatentChanges(), ADVERSARIAL),
        (SMALL_CODES["magvit"], 1, LatentChanges(), ADVERSARIAL),
    ],
)
def test_a_step_neither_waits_for_the_device_nor_copies_from_the_host(
    base, micro_batch, changes, training
):
    step = make_step(base, micro_batch, changes, **training)
    average = AveragedWeights(step.generator.module, 100)
    batch = torch.empty(2, 1, 16, 16, 16, dtype=torch.int16, device=META)
    with Transfers() as transfers:
        for seen in (0, 2, 4):
            result = step(batch, seen, 1e-3)
            assert isinstance(result, UnreadStep)
            average.follow(step.generator.module, seen + 2, 2, result.finite)
    assert transfers.counts == {}


def test_what_would_wait_is_an_error_here():
    with pytest.raises(RuntimeError, match="meta"):
        torch.ones(2, device=META).sum().item()
    with Transfers() as transfers:
        torch.ones(2).to(META)
    assert transfers.counts == {"cpu to meta": 1}
