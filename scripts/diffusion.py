"""A diffusion model on latents: phantoms, latents, a rectified flow of MONAI, samples, CT.

One command, ``python scripts/diffusion.py``, in under three minutes on two cores. The networks are
far too small for pictures; the way is that of a large run.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import RFlowScheduler
from monai.transforms import LoadImage
from scipy.stats import wasserstein_distance

from ct_vae import load_codec
from ct_vae.cli.main import app
from ct_vae.errors import CtVaeError
from ct_vae.inference.codec import Codec
from ct_vae.io import read_latent, read_volume, write_volume
from ct_vae.latent import Latent
from ct_vae.phantoms.make_phantom import make_phantom

SIDE, SPACING_MM = 32, 10.0
_QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.json"


def ct_vae(*words: object) -> None:
    """Run a command of the package as a user would, without starting Python anew."""
    command = [str(word) for word in words]
    print("$ ct-vae", *command, flush=True)
    try:
        code = app(command, standalone_mode=False)
    except CtVaeError as error:
        sys.exit(f"error: {error}")
    if code:
        sys.exit(code)


def make_ct(folder: Path, count: int) -> None:
    """Coarse phantoms that all have the same sides, as a network of fixed size wants them."""
    for seed in range(count):
        ct = make_phantom("thorax", seed, SPACING_MM, (SIDE, SIDE, SIDE))
        write_volume(ct, folder / f"thorax_{seed:03d}.nii.gz")


def train_autoencoder(out: Path, samples: int) -> Path:
    """A small autoencoder, trained on the phantoms."""
    config = json.loads(_QUICKSTART.read_text(encoding="utf-8"))
    config.pop("$schema")
    config["data"] = {"train": [str(out / "ct")]}
    config["training"] |= {
        "samples": samples,
        "save_every": samples,
        "warmup_samples": samples // 8,
        "patch_size": [16, 16, 16],
        "output_dir": str(out / "model"),
    }
    (out / "autoencoder.json").write_text(json.dumps(config), encoding="utf-8")
    ct_vae("train", out / "autoencoder.json", "--overwrite")
    return out / "model"


def load_latents(paths: list[Path]) -> torch.Tensor:
    """``(N, C, x, y, z)`` of latent files, by MONAI's own reader."""
    load = LoadImage(reader="NibabelReader", ensure_channel_first=True)
    return torch.stack([load(path).as_tensor().float() for path in paths])


def make_flow(
    steps: int, latents: torch.Tensor, scale: float
) -> tuple[DiffusionModelUNet, RFlowScheduler]:
    """Train a small velocity network on latents; return it with its scheduler."""
    channels = latents.shape[1]
    network = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=channels,
        channels=(16, 32),
        attention_levels=(False, False),
        num_res_blocks=1,
        norm_num_groups=8,
        num_head_channels=8,
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    scheduler = train_flow(network, latents * scale, optimizer, steps, batch_size=4)
    return network.eval(), scheduler


def train_flow(
    network: DiffusionModelUNet,
    latents: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    batch_size: int,
    decay: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> RFlowScheduler:
    """Train a rectified flow on latents ``(N, C, x, y, z)``; return the scheduler of its times."""
    scheduler = RFlowScheduler(num_train_timesteps=1000)
    for step in range(steps):
        clean = latents[torch.randint(len(latents), (batch_size,))]
        noise = torch.randn_like(clean)
        times = scheduler.sample_timesteps(clean)
        moved = scheduler.add_noise(original_samples=clean, noise=noise, timesteps=times)
        loss = (network(moved, times) - (clean - noise)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if decay is not None:
            decay.step()
        if step % max(1, steps // 5) == 0:
            print(f"flow, step {step}: loss {loss.item():.3f}", flush=True)
    return scheduler


def sample(
    network: DiffusionModelUNet, scheduler: RFlowScheduler, noise: torch.Tensor
) -> torch.Tensor:
    """Latents of noise, scaled as those that the network was trained on."""
    scheduler.set_timesteps(num_inference_steps=20, input_img_size_numel=noise[0, 0].numel())
    with torch.no_grad():
        drawn: torch.Tensor = DiffusionInferer(scheduler).sample(
            input_noise=noise, diffusion_model=network, scheduler=scheduler, verbose=False
        )
    return drawn


def decode(codec: Codec, latents: torch.Tensor, like: Latent, paths: list[Path]) -> np.ndarray:
    """Write latents as CT at the place of a phantom; gives all HU."""
    voxels = []
    for array, path in zip(latents, paths, strict=True):
        volume = codec.decode(replace(like, array=array.numpy()))
        write_volume(volume, path)
        voxels.append(volume.voxels.ravel())
    return np.concatenate(voxels)


def main() -> None:
    """Do everything and print two distances between histograms of HU."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-o", "--output", type=Path, default=Path("runs/diffusion"))
    options.add_argument("--phantoms", type=int, default=8)
    options.add_argument("--autoencoder-samples", type=int, default=480)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--samples", type=int, default=4)
    given = options.parse_args()
    torch.manual_seed(0)
    out = given.output
    make_ct(out / "ct", given.phantoms)
    model = train_autoencoder(out, given.autoencoder_samples)
    ct_vae("encode", model, out / "ct", "-o", out / "latents", "--overwrite")

    codec = load_codec(model, device="cpu")
    paths = sorted((out / "latents").glob("*_latent.nii.gz"))
    latents, like = load_latents(paths), read_latent(paths[0])
    scale = codec.network.model.scaling_factor
    network, scheduler = make_flow(given.steps, latents, scale)
    noise = torch.randn(given.samples, *latents.shape[1:])
    drawn = sample(network, scheduler, noise) / scale

    names = [f"{i:03d}.nii.gz" for i in range(given.samples)]
    sampled = decode(codec, drawn, like, [out / "samples" / name for name in names])
    random = decode(codec, noise / scale, like, [out / "noise" / name for name in names])
    window = codec.preprocessor.scale.window_hu
    scans = (read_volume(path) for path in sorted((out / "ct").glob("*.nii.gz")))
    phantoms = np.concatenate([scan.voxels.clip(*window).ravel() for scan in scans])
    distances = {
        "samples": wasserstein_distance(phantoms, sampled),
        "noise": wasserstein_distance(phantoms, random),
    }
    for name, distance in distances.items():
        print(f"HU histogram, {name} from phantoms: {distance:.1f} HU")
    print(f"samples    {out / 'samples'}")


if __name__ == "__main__":
    main()
