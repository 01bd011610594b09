"""Compare latents for diffusion: a model fine-tuned with and without the equivariance loss.

``python scripts/compare_latents.py DATALIST -o OUT`` fine-tunes a default model twice for equally
many samples on the training volumes of DATALIST, measures reconstruction and latents of both on its
validation volumes, trains the same small rectified flow on crops of each model's latents, and
compares decoded samples with crops of the validation volumes. A run that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusion import ct_vae, sample, train_flow
from measure_default import rmse
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import RFlowScheduler
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from ct_vae import load_codec
from ct_vae.config.default_models import find_model
from ct_vae.evaluation.latent_quality.measure import measure_latent, radial_spectra
from ct_vae.inference.codec import Codec
from ct_vae.io import read_volume
from ct_vae.masks import body_mask
from ct_vae.volume import Volume

FloatArray = NDArray[np.float64]
# Latent voxels along each axis of a crop.
SIDE = 12
_CLIP = (-1000.0, 1000.0)


def fine_tune(base: str, datalist: Path, out: Path, training: dict[str, object]) -> Path:
    """Fine-tune a model on the training volumes of a datalist; return the run folder.

    Args:
        base: Default model or model folder to begin with.
        datalist: Datalist with training and validation volumes.
        out: Run folder; a run that was stopped continues, one that is complete is kept.
        training: Keys of the section ``training``, with the number of samples.
    """
    config = json.loads((find_model(base) / "config.json").read_text(encoding="utf-8"))
    config = {key: config[key] for key in ("model", "preprocess")}
    config["model"]["ckpt_path"] = base
    config["data"] = {
        "datalist": str(datalist.resolve()),
        "augment": {"flip": [0.5, 0.5, 0.5], "zoom": 0.4},
    }
    samples = int(str(training["samples"]))
    config["training"] = {
        "batch_size": 4,
        "patch_size": [32, 32, 32],
        "recon_type": "charbonnier",
        "charbonnier_eps": 0.02,
        "kl_weight": 1e-4,
        "lr": 5e-4,
        "warmup_samples": 200,
        "save_every": samples,
        "checkpoint_every": max(4, samples // 8),
        "output_dir": str(out),
        **training,
    }
    path = out.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    if not (out / "model.safetensors").exists():
        ct_vae("train", path, "--resume")
    return out


def volumes_of(datalist: Path, part: str) -> Iterator[Volume]:
    """Read the volumes of one part of a datalist."""
    for entry in json.loads(datalist.read_text(encoding="utf-8"))[part]:
        yield read_volume(datalist.parent / entry["image"])


def rmse_in_body(codec: Codec, volume: Volume) -> float:
    """RMSE in HU inside the body, HU clipped to [-1000, 1000]."""
    return rmse(volume, codec.reconstruct(volume), body_mask(volume).voxels, _CLIP)


def crops(
    image: torch.Tensor, sides: Sequence[int], count: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw crops ``(count, C, *sides)``; smaller images are padded by their border."""
    lacking = [max(0, n - m) for n, m in zip(sides, image.shape[1:], strict=True)]
    pads = [pad for n in reversed(lacking) for pad in (0, n)]
    image = torch.nn.functional.pad(image[None], pads, mode="replicate")[0]
    drawn = []
    for _ in range(count):
        window = [slice(None)]
        for n, m in zip(sides, image.shape[1:], strict=True):
            low = int(torch.randint(m - n + 1, (), generator=generator))
            window.append(slice(low, low + n))
        drawn.append(image[tuple(window)])
    return torch.stack(drawn)


def latents_of(codec: Codec, volumes: Iterator[Volume], count: int) -> torch.Tensor:
    """Encode volumes and draw crops of their latents, equally many of each."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat(
        [
            crops(torch.from_numpy(codec.encode(v).array), (SIDE,) * 3, count, generator)
            for v in volumes
        ]
    )


def make_flow(latents: torch.Tensor, steps: int) -> tuple[DiffusionModelUNet, RFlowScheduler]:
    """Train a velocity network on normalized latents."""
    torch.manual_seed(0)
    channels = latents.shape[1]
    network = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=channels,
        channels=(32, 64),
        attention_levels=(False, True),
        num_res_blocks=2,
        norm_num_groups=16,
        num_head_channels=32,
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scheduler = train_flow(network, latents, optimizer, steps, batch_size=8, decay=decay)
    return network.eval(), scheduler


@torch.inference_mode()
def decoded(codec: Codec, latents: torch.Tensor) -> FloatArray:
    """Decode crops to HU ``(N, X, Y, Z)``, clipped to [-1000, 1000]."""
    scale = codec.preprocessor.scale
    images = [scale.to_hu(codec.network.decode(z[None]))[0, 0].clamp(*_CLIP) for z in latents]
    return torch.stack(images).double().numpy()


@torch.inference_mode()
def slice_features(codec: Codec, images: FloatArray) -> FloatArray:
    """Features ``(slices, channels)`` of axial slices: means of the encoder's last hidden layer."""
    found: list[torch.Tensor] = []
    hook = codec.network.model.encoder.norm_out.register_forward_hook(
        lambda _module, _inputs, output: found.append(output.mean(dim=(2, 3))[0].T)
    )
    try:
        for image in images:
            units = codec.preprocessor.scale.to_model(torch.from_numpy(image).float())
            codec.network.features(units[None, None])
    finally:
        hook.remove()
    return torch.cat(found).double().numpy()


def frechet_distance(a: FloatArray, b: FloatArray) -> float:
    """Fréchet distance of the Gaussians that fit two sets of features (Heusel et al. 2017)."""
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    means = np.square(a.mean(0) - b.mean(0)).sum()
    return float(means + np.trace(covariances[0] + covariances[1] - 2 * root))


def spectrum_distance(a: FloatArray, b: FloatArray) -> float:
    """Return the RMS difference of the mean logarithmic (base 10) spectra of two sets of images."""
    powers = []
    for images in (a, b):
        _, shapes = radial_spectra(images, bins=16)
        variance = images.reshape(len(images), -1).var(axis=1)
        powers.append(np.log10((shapes * variance[:, None]).mean(axis=0)))
    return float(np.sqrt(np.square(powers[0] - powers[1]).mean()))


def compare(base: Codec, images: FloatArray, real: FloatArray) -> dict[str, float]:
    """Distances between decoded samples and crops of real CT."""
    features = slice_features(base, real)
    return {
        "histogram_hu": float(wasserstein_distance(images.ravel()[::7], real.ravel()[::7])),
        "spectrum": spectrum_distance(images, real),
        "frechet": frechet_distance(slice_features(base, images), features),
    }


def measure(
    model: Path, base: Codec, real: FloatArray, given: argparse.Namespace
) -> dict[str, float]:
    """All figures of one fine-tuned model."""
    codec = load_codec(model)
    volumes = list(volumes_of(given.datalist, "validation"))
    found = [measure_latent(codec, volume) for volume in volumes]
    result = {
        "rmse": float(np.mean([rmse_in_body(codec, volume) for volume in volumes])),
        "high_share": float(np.mean([[c.high_share for c in q.channels] for q in found])),
        "largest_correlation": float(np.mean([q.largest_correlation for q in found])),
    }
    for name in dict.fromkeys(e.transform for q in found for e in q.equivariance):
        same = [e for q in found for e in q.equivariance if e.transform == name]
        result[f"error, {name}"] = float(np.mean([e.latent_error for e in same]))
        result[f"rmse, {name}"] = float(np.mean([e.rmse_hu for e in same]))
    latents = latents_of(codec, volumes_of(given.datalist, "training"), given.crops)
    # One mean and one standard deviation per channel, as latent diffusion needs it.
    mean = latents.mean(dim=(0, 2, 3, 4), keepdim=True)
    std = latents.std(dim=(0, 2, 3, 4), keepdim=True)
    network, scheduler = make_flow((latents - mean) / std, given.flow_steps)
    noise = torch.randn(given.draws, *latents.shape[1:], generator=torch.Generator().manual_seed(1))
    drawn = torch.cat([sample(network, scheduler, part) for part in noise.split(8)])
    result |= compare(base, decoded(codec, drawn * std + mean), real)
    return result


def real_crops(base: Codec, datalist: Path, count: int) -> FloatArray:
    """Crops of the validation volumes as large as decoded samples, in clipped HU."""
    generator = torch.Generator().manual_seed(2)
    sides = [SIDE * f for f in base.network.factor]
    drawn = []
    for volume in volumes_of(datalist, "validation"):
        hu = torch.from_numpy(base.preprocessor.orient(volume).voxels.astype(np.float32))
        drawn.append(crops(hu.clamp(*_CLIP)[None], sides, count, generator)[:, 0])
    return torch.cat(drawn).double().numpy()


def table(results: Sequence[tuple[str, dict[str, float]]]) -> str:
    """A Markdown table with one column per model."""
    names = results[0][1]
    lines = ["| figure | " + " | ".join(name for name, _ in results) + " |"]
    lines.append("|---" * (len(results) + 1) + "|")
    lines += [
        f"| {key} | " + " | ".join(f"{r[key]:.3g}" for _, r in results) + " |" for key in names
    ]
    return "\n".join(lines)


def main() -> None:
    """Train, measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("datalist", type=Path)
    options.add_argument("-o", "--output", type=Path, default=Path("runs/latents"))
    options.add_argument("--base", default="ct-f4")
    options.add_argument("--weight", type=float, default=0.5)
    options.add_argument("--samples", type=int, default=4000)
    options.add_argument("--flow-steps", type=int, default=1500)
    options.add_argument("--crops", type=int, default=40, help="latent crops per training volume")
    options.add_argument("--draws", type=int, default=40, help="samples of each flow")
    given = options.parse_args()
    base = load_codec(given.base)
    real = real_crops(base, given.datalist, given.draws // 5 + 1)
    results = []
    for name, weight in (("plain", 0.0), ("equivariant", given.weight)):
        training = {"samples": given.samples, "equivariance_weight": weight}
        run = fine_tune(given.base, given.datalist, given.output / name, training)
        results.append((name, measure(run, base, real, given)))
        (given.output / "latents.json").write_text(json.dumps(dict(results), indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
