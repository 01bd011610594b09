"""A training step beside a plain loop on MONAI, measured in one run on the machine at hand.

Usage: python scripts/bench.py train [--width N] [--patch N] [--steps N] [--workers N] [--json FILE]

Both train the same network from the same weights on 3-D patches of the same phantoms: mean absolute
error, KL, a least-squares game against a patch discriminator of each package (64 channels, three
levels), AdamW, the same precision, the same number of worker processes. MONAI's loop takes random
crops of cached volumes, zeroes the gradients of either side in its own turn, and is as its users
write it: default memory format. Computing and waiting for data are told apart, and the peers take
turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from bench import conditions
from monai.data import CacheDataset, DataLoader
from monai.losses import PatchAdversarialLoss
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL
from monai.networks.nets import PatchDiscriminator
from monai.transforms import Compose, EnsureTyped, RandSpatialCropd, ScaleIntensityRanged

from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.convert_weights import import_weights
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset
from ct_vae.losses.build import build_objective
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.preprocess.pipeline import build_preprocessor
from ct_vae.training.build import memory_format
from ct_vae.training.data.loader import Batches
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.optim import build_optimizer
from ct_vae.training.optimized_network import OptimizedNetwork
from ct_vae.training.precision import choose_precision
from ct_vae.training.step import StepSettings, TrainStep

KL_WEIGHT, ADVERSARIAL_WEIGHT, LR = 1e-4, 0.1, 1e-4
ANATOMIES = ("thorax", "abdomen", "head")
SPACING_MM = (3.0, 3.0, 3.0)
Step = Callable[[torch.Tensor], float]


@dataclass
class Peer:
    """One way to train.

    Attributes:
        step: Takes a batch in model units; gives the loss of the autoencoder.
        batches: Endless batches in model units, on the device.
        compute_s: Seconds of every step.
        wait_s: Seconds for which every step waited for its data.
        losses: Of every step.
        peak_mb: Most memory of the GPU; 0 on a CPU.
    """

    step: Step
    batches: Iterator[torch.Tensor]
    compute_s: list[float] = field(default_factory=list)
    wait_s: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def advance(self, device: torch.device, counted: bool) -> None:
        """Take one step; the first ones make caches and are not counted."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        began = time.perf_counter()
        batch = next(self.batches)
        fetched = time.perf_counter()
        self.losses.append(self.step(batch))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            self.peak_mb = torch.cuda.max_memory_allocated(device) / 2**20
        if counted:
            self.compute_s.append(time.perf_counter() - fetched)
            self.wait_s.append(fetched - began)


def numbers(width: int) -> dict[str, Any]:
    """The network as MONAI's constructor takes it: f4 without attention."""
    channels = (width, 2 * width, 4 * width)
    return {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "num_res_blocks": (2,) * len(channels),
        "channels": channels,
        "attention_levels": (False,) * len(channels),
        "latent_channels": 4,
        "norm_num_groups": min(32, width),
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }


def run_config(options: argparse.Namespace) -> RunConfig:
    """Settings of our side; the architecture comes with the weights."""
    return RunConfig(
        training=TrainingConfig(
            samples=10**6,
            batch_size=options.batch,
            patch_size=(options.patch,) * 3,
            workers=options.workers,
            recon_type="l1",
            kl_weight=KL_WEIGHT,
            adversarial_weight=ADVERSARIAL_WEIGHT,
            adversarial_loss="least_squares",
            adversarial_adaptive=False,
            adversarial_start_samples=0,
            adversarial_ramp_samples=0,
            lr=LR,
            grad_clip=None,
        )
    )


def ours(state: dict[str, torch.Tensor], options: argparse.Namespace, device: torch.device) -> Peer:
    """A `TrainStep` with what `ct-vae train` feeds it."""
    config, world = run_config(options), DistributedContext(device=device)
    precision = choose_precision("auto", device)
    layout = memory_format(3)
    model = import_weights(state, numbers(options.width)).to(device, memory_format=layout).train()
    objective = build_objective(config, model.output_activation, device)
    sides = []
    for module in (model, objective.adversary):
        optimizer = build_optimizer(module.parameters(), config.training, device.type == "cuda")
        sides.append(OptimizedNetwork(module, optimizer, None, precision, world))
    sides[1].module.to(memory_format=layout)
    step = TrainStep(
        sides[0], objective, StepSettings(0, options.batch), precision, world, sides[1]
    )
    scale = build_preprocessor(config.preprocess).scale
    volumes = [StoredVolume.of(make_phantom(a, 0, SPACING_MM)) for a in ANATOMIES]
    patches = PatchDataset(volumes, config.patch_size, 10**6, 0, 0.8)
    batches = Batches(patches, 10**6, options.batch, 0, options.workers, world)

    def units() -> Iterator[torch.Tensor]:
        for batch in batches(0):
            yield scale.to_model(batch.float()).contiguous(memory_format=layout)

    seen = iter(range(0, 10**6, options.batch))
    return Peer(lambda batch: step.read(step(batch, next(seen), LR)).loss, units())


def theirs(
    state: dict[str, torch.Tensor], options: argparse.Namespace, device: torch.device
) -> Peer:
    """MONAI's networks, losses and cached crops in the loop of its tutorials, mended."""
    model = MonaiAutoencoderKL(**numbers(options.width)).to(device).train()
    model.load_state_dict(state)
    discriminator = PatchDiscriminator(
        spatial_dims=3, channels=64, in_channels=1, out_channels=1, num_layers_d=3, norm="INSTANCE"
    ).to(device)
    game = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    optimizers = [
        torch.optim.AdamW(m.parameters(), lr=LR, betas=(0.9, 0.99), weight_decay=0.0)
        for m in (model, discriminator)
    ]
    precision = choose_precision("auto", device)

    def step(batch: torch.Tensor) -> float:
        optimizers[0].zero_grad(set_to_none=True)
        discriminator.requires_grad_(False)
        with precision.autocast():
            image, mean, sigma = model(batch)
            verdict = discriminator(image)[-1]
        variance = sigma.float().square()
        kl = 0.5 * (mean.float().square() + variance - variance.log() - 1).mean()
        fooled = game(verdict.float(), target_is_real=True, for_discriminator=False)
        loss = (image.float() - batch).abs().mean() + KL_WEIGHT * kl + ADVERSARIAL_WEIGHT * fooled
        loss.backward()
        optimizers[0].step()
        discriminator.requires_grad_(True)
        optimizers[1].zero_grad(set_to_none=True)
        with precision.autocast():
            fake = discriminator(image.detach())[-1]
            real = discriminator(batch)[-1]
        judged = game(fake.float(), target_is_real=False, for_discriminator=True)
        judged = judged + game(real.float(), target_is_real=True, for_discriminator=True)
        (0.5 * judged).backward()
        optimizers[1].step()
        return loss.item()

    return Peer(step, cached_crops(options, device))


def cached_crops(options: argparse.Namespace, device: torch.device) -> Iterator[torch.Tensor]:
    """Random crops of cached phantoms in model units, by MONAI transforms and loader."""
    volumes = [
        {"image": make_phantom(a, 0, SPACING_MM).voxels[None].astype("float32")} for a in ANATOMIES
    ]
    transforms = Compose(
        [
            ScaleIntensityRanged("image", -1000, 1000, -1, 1, clip=True),
            EnsureTyped("image"),
            RandSpatialCropd("image", (options.patch,) * 3, random_size=False),
        ]
    )
    cached = CacheDataset(volumes * 64, transforms, num_workers=1, progress=False)
    loader = DataLoader(
        cached,
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )

    while True:
        for item in loader:
            yield item["image"].as_tensor().to(device)


def main() -> None:
    """Train both in turns and tell what a step took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64, help="channels of the finest level")
    parser.add_argument("--patch", type=int, default=64, help="side of a patch in voxels")
    parser.add_argument("--batch", type=int, default=1, help="patches of a step")
    parser.add_argument("--steps", type=int, default=5, help="steps that count")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare patches")
    parser.add_argument("--device", default=None, help="such as cuda:0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures are written")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    state = MonaiAutoencoderKL(**numbers(options.width)).state_dict()
    peers = {"MONAI loop": theirs(state, options, device), "ct_vae": ours(state, options, device)}
    for number in range(options.steps + 1):
        for peer in peers.values():
            peer.advance(device, counted=number > 0)
    report: dict[str, Any] = {
        "conditions": conditions(options.steps) | {"device": str(device), "gradients": True},
        "options": {k: v for k, v in vars(options).items() if k != "json"},
    }
    first = next(iter(peers.values()))
    for name, peer in peers.items():
        compute, wait = statistics.median(peer.compute_s), sum(peer.wait_s)
        told = {
            "compute_s": compute,
            "speed": statistics.median(first.compute_s) / compute,
            "waiting_share": wait / (wait + sum(peer.compute_s)),
            "peak_mb": peer.peak_mb,
            "last_loss": peer.losses[-1],
        }
        every = {"compute_s": peer.compute_s, "wait_s": peer.wait_s, "losses": peer.losses}
        report[name] = told | {"every_step": every}
        print(f"{name:12s}", ", ".join(f"{k} {v:.4g}" for k, v in told.items()))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
