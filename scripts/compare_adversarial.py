"""Compare fine-tuning with and without a discriminator: ``compare_adversarial.py DATALIST -o OUT``.

Fine-tunes a default model twice for equally many steps on the training volumes of DATALIST, once
with adversarial loss, R1 penalty and feature matching, and prints for both the error in the body,
the noise that is kept, the skipped steps, and the range of the discriminator's losses. A run that
was stopped continues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from compare_latents import fine_tune, rmse_in_body, table, volumes_of

from ct_vae import load_codec
from ct_vae.evaluation.pictures.panels import write_panel
from ct_vae.evaluation.texture.noise import measure_texture
from ct_vae.masks import body_mask

_BATCH = 4
_ADVERSARIAL = {
    "adversarial_weight": 0.1,
    "adversarial_start_samples": 0,
    "adversarial_ramp_samples": 1000,
    "feature_matching_weight": 1.0,
    "r1_weight": 0.1,
    "discriminator_ch": 16,
    "discriminator_lr": 2e-4,
}


def measure(run: Path, datalist: Path) -> dict[str, float]:
    """Error and noise of a model on the validation volumes, and the course of its training."""
    codec = load_codec(run)
    errors, kept = [], []
    for place, volume in enumerate(volumes_of(datalist, "validation")):
        body = body_mask(volume)
        decoded = codec.reconstruct(volume)
        ratio = measure_texture(volume, decoded, body).noise_ratio
        kept += [] if ratio is None else [ratio]
        errors.append(rmse_in_body(codec, volume))
        write_panel(volume, decoded, run / f"panel_{place}.png", body=body, title=run.name)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "RMSE in the body, HU": float(np.mean(errors)),
        "noise kept": float(np.mean(kept)),
        "skipped steps": max(line.get("skipped_steps", 0) for line in lines),
    } | discriminator_losses(lines)


def discriminator_losses(lines: list[dict[str, float]]) -> dict[str, float]:
    """Smallest and largest value of each loss of the discriminator after the first tenth."""
    later = lines[len(lines) // 10 :]
    names = sorted(
        {
            name
            for line in later
            for name in line
            if name.startswith("d_") or name in ("r1", "adversarial")
        }
    )
    found = {name: [line[name] for line in later if name in line] for name in names}
    limits = {f"{name}, least": min(values) for name, values in found.items()}
    return limits | {f"{name}, most": max(values) for name, values in found.items()}


def main() -> None:
    """Train, measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("datalist", type=Path)
    options.add_argument("-o", "--output", type=Path, default=Path("runs/adversarial"))
    options.add_argument("--base", default="ct-f4")
    options.add_argument("--steps", type=int, default=2000)
    given = options.parse_args()
    results = []
    for name, extra in (("without", {}), ("adversarial", _ADVERSARIAL)):
        training = {
            "samples": _BATCH * given.steps,
            "batch_size": _BATCH,
            "lr": 2e-4,
            "log_every": _BATCH * 10,
            **extra,
        }
        run = fine_tune(given.base, given.datalist, given.output / name, training)
        results.append((name, measure(run, given.datalist)))
    keys = dict.fromkeys(key for _, result in results for key in result)
    print(table([(name, {k: r.get(k, float("nan")) for k in keys}) for name, r in results]))


if __name__ == "__main__":
    main()
