"""Effect of training at a step: ``compare_latent_noise.py DATALIST VOLUME... -o OUT``.

Trains the decoder of a default model further for equally many patches with and without noise like
that of rounding with ``--step``; the encoder is frozen, so that all decode the same latents. Prints
the RMSE in the body over the bits per voxel of coded latents at several steps, for the model as it
is and for both runs. A run that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from compare_latents import fine_tune

from ct_vae import load_codec
from ct_vae.evaluation.rate_distortion.curve import Curve
from ct_vae.evaluation.rate_distortion.measure import BodyErrors
from ct_vae.evaluation.rate_distortion.methods import sweep_latent
from ct_vae.evaluation.rounding import stored
from ct_vae.io import read_volume
from ct_vae.masks import body_mask


def curves(model: str, volumes: list[Path]) -> Iterator[tuple[str, Curve, float]]:
    """Yield the curve of a model and its error without quantization, for each volume."""
    codec = load_codec(model)
    for path in volumes:
        volume = read_volume(path)
        errors = BodyErrors(volume, body_mask(volume))
        latent = codec.encode(volume)
        plain = errors.of(stored(codec.decode(latent)))["body"]
        swept = sweep_latent(latent, lambda z: stored(codec.decode(z)))
        yield path.name, errors.curve(model, swept), plain


def main() -> None:
    """Train, measure and print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("datalist", type=Path)
    options.add_argument("volumes", type=Path, nargs="+")
    options.add_argument("-o", "--output", type=Path, default=Path("runs/latent_noise"))
    options.add_argument("--model", default="ct-f4", help="name of a default model")
    options.add_argument("--step", type=float, default=4.0, help="step of the noise")
    options.add_argument("--samples", type=int, default=3200)
    options.add_argument("--lr", type=float, default=2e-4)
    given = options.parse_args()
    common = {
        "samples": given.samples,
        "freeze": "encoder",
        "lr": given.lr,
        "schedule": "cosine",
    }
    noise = {"latent_noise": given.step, "latent_noise_type": "posterior"}
    runs = {given.model: given.model}
    for name, extra in (("noise", noise), ("control", {})):
        run = given.output / f"{name}_{given.samples}"
        fine_tune(given.model, given.datalist, run, common | extra)
        runs[name] = str(run)
    found = {}
    for name, model in runs.items():
        for volume, curve, plain in curves(model, given.volumes):
            found[f"{name}, {volume}"] = {"plain": plain} | asdict(curve)
            print(f"\n{volume}, {name}: {plain:.2f} HU without quantization")
            for point in curve.points:
                print(f"  step {point.level:g}: {point.bits_per_voxel:.4f} bit {point.body:.2f} HU")
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "curves.json").write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
