"""Effect of fine-tuning on a scanner: ``compare_fine_tuning.py DATALIST SCANNER -o OUT``.

Trains a small base model on the training volumes whose path does not contain SCANNER, then trains
it further for equally many patches: on the volumes of SCANNER, on them with the encoder frozen, and
on the other volumes as a control. Prints the error in the body on the validation volumes of SCANNER
and of the others. A run that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from compare_latents import fine_tune, rmse_in_body, table
from diffusion import ct_vae

from ct_vae import load_codec
from ct_vae.config.shipped_configs import find_config
from ct_vae.io import read_volume


def split(datalist: Path, scanner: str, out: Path) -> tuple[Path, Path]:
    """Write datalists of the volumes of a scanner and of all others."""
    cases = json.loads(datalist.read_text(encoding="utf-8"))
    paths = []
    for name in ("scanner", "others"):
        kept: dict[str, Any] = {}
        for part in ("training", "validation"):
            chosen = [c for c in cases[part] if (scanner in c["image"]) == (name == "scanner")]
            kept[part] = [
                c | {"image": str((datalist.parent / c["image"]).resolve())} for c in chosen
            ]
        paths.append(out / f"{name}.json")
        out.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text(json.dumps(kept), encoding="utf-8")
    return paths[0], paths[1]


def train_base(others: Path, out: Path, samples: int) -> Path:
    """Train a model of the family of the default models on the other volumes."""
    config = json.loads(Path(find_config("ct_f4_stage1")).read_text(encoding="utf-8"))
    del config["$schema"], config["training"]["stop_after"]
    config["data"]["datalist"] = str(others.resolve())
    config["training"] |= {
        "samples": samples,
        "lr_decay_samples": samples // 3,
        "save_every": samples,
        "checkpoint_every": max(8, samples // 8 // 8 * 8),
        "output_dir": str(out / "base"),
    }
    path = out / "base.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    if not (out / "base" / "model.safetensors").exists():
        ct_vae("train", path, "--resume")
    return out / "base"


def errors(model: Path, lists: Sequence[Path]) -> dict[str, float]:
    """Mean error in the body on the validation volumes of each list."""
    codec = load_codec(model)
    result = {}
    for path in lists:
        cases = json.loads(path.read_text(encoding="utf-8"))["validation"]
        found = [rmse_in_body(codec, read_volume(case["image"])) for case in cases]
        result[f"RMSE in the body, {path.stem}, HU"] = float(np.mean(found))
    return result


def main() -> None:
    """Train, measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("datalist", type=Path)
    options.add_argument("scanner", help="text in the paths of its volumes")
    options.add_argument("-o", "--output", type=Path, default=Path("runs/fine_tuning"))
    options.add_argument("--base-samples", type=int, default=6400)
    options.add_argument("--samples", type=int, default=3200)
    given = options.parse_args()
    lists = split(given.datalist, given.scanner, given.output)
    base = train_base(lists[1], given.output, given.base_samples)
    results = [("base", errors(base, lists))]
    kinds: dict[str, tuple[Path, dict[str, object]]] = {
        "tuned": (lists[0], {}),
        "decoder tuned": (lists[0], {"freeze": "encoder"}),
        "control": (lists[1], {}),
    }
    for name, (datalist, extra) in kinds.items():
        run = given.output / name.replace(" ", "_")
        fine_tune(str(base), datalist, run, {"samples": given.samples, **extra})
        results.append((name, errors(run, lists)))
    print(table(results))


if __name__ == "__main__":
    main()
