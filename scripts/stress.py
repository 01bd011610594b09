"""Long proofs that nothing breaks: memory, mutated inputs, kills, training. Prints JSON.

Usage: scripts/stress.sh [--scale 0.1]   A scale below 1 does less of everything.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.errors import CtVaeError, InputError
from ct_vae.inference.codec import load_codec
from ct_vae.inference.device import resident_bytes
from ct_vae.io import ReadOptions, read_latent, read_volume, write_latent, write_volume
from ct_vae.models.weights import load_weights
from ct_vae.training.data.order import SeededOrder
from tests._small import SMALL_MODEL, ct_volume, small_model
from tests.io._samples import latent_of, nifti_bytes
from tests.io._series import make_series, write_series

Figures = dict[str, float | int]


def encode_many(count: int, folder: Path) -> Figures:
    """Encode small cases, every tenth of them damaged, and watch the memory of the process."""
    from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
    from ct_vae.config.preprocess import PreprocessConfig
    from ct_vae.models.model_folder import save_model_folder

    config = ModelFolderConfig(
        name="small",
        model=SMALL_MODEL,
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=2.0),
    )
    save_model_folder(folder / "model", small_model(), config, "# small\n", {})
    codec = load_codec(folder / "model", "cpu")
    held, good, bad = [], 0, 0
    for k in range(count):
        path = folder / f"{k}.nii.gz"
        write_volume(ct_volume(seed=k), path)
        if k % 10 == 0:
            path.write_bytes(path.read_bytes()[:-100])
        try:
            write_latent(codec.encode(read_volume(path)), folder / f"{k}_latent.nii.gz")
            good += 1
        except CtVaeError:
            bad += 1
        held.append(resident_bytes() / 2**20)
    return {"cases": count, "good": good, "refused": bad, "mb_per_case": _slope(held)}


def train_long(count: int, folder: Path) -> Figures:
    """Train on cases of which one in ten is damaged, and then gives numbers that are not finite."""
    from ct_vae.config.data import DataConfig
    from ct_vae.training import train
    from ct_vae.training.reporting.run_log import METRICS, read_log

    volumes = [ct_volume((12, 12, 12), seed=k) for k in range(20)]
    paths = [folder / f"case_{k:02d}.nii.gz" for k in range(len(volumes))]
    for volume, path in zip(volumes, paths, strict=True):
        write_volume(volume, path)
    for path in paths[::10]:
        path.write_bytes(path.read_bytes()[:-100])
    listed = {"training": [{"image": path.name} for path in paths]}
    (folder / "list.json").write_text(json.dumps(listed))
    config = _small_run(folder, count)
    named = config.model_copy(update={"data": DataConfig(datalist=str(folder / "list.json"))})
    try:
        train(None, named)
        told = 0
    except CtVaeError as error:
        told = sum(path.name in str(error) for path in paths[::10])
    data = _Spoilt([torch.from_numpy(v.voxels[None, 2:10, 2:10, 2:10].copy()) for v in volumes])
    run = train(data, config)
    whole = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    steps = [line for line in whole if "skipped_steps" in line]
    expected = sum(index % 10 == 0 for index in SeededOrder(len(data), count, 0))
    finite = all(bool(w.isfinite().all()) for w in load_weights(run).values())
    wrong = [
        told != len(paths[::10]),
        whole != read_log(run / METRICS),
        steps[-1]["samples_seen"] != count - count % 10,
        steps[-1]["skipped_steps"] > expected,
        steps[-1]["skipped_steps"] < expected - 10,
        len(steps) < count // 20,
        not finite,
    ]
    return {
        "steps": count,
        "not_finite": expected,
        "skipped": steps[-1]["skipped_steps"],
        "damaged_told": told,
        "lines": len(whole),
        "mb_per_100_steps": round(100 * _slope(data.held), 4),
        "wrong": sum(wrong),
    }


class _Spoilt(list[torch.Tensor]):
    """Patches of cases of which every tenth is not finite; notes what the process holds."""

    def __init__(self, patches: list[torch.Tensor]) -> None:
        super().__init__(patches)
        self.held: list[float] = []

    def __getitem__(self, index: Any) -> Any:
        self.held.append(resident_bytes() / 2**20)
        patch = super().__getitem__(index).float()
        return patch if index % 10 else torch.full_like(patch, float("nan"))


def _small_run(folder: Path, steps: int) -> RunConfig:
    return RunConfig(
        model=SMALL_MODEL,
        training=TrainingConfig(
            output_dir=str(folder / "run"),
            samples=steps,
            batch_size=1,
            patch_size=(8, 8, 8),
            lr=1e-4,
            warmup_samples=10,
            log_every=10,
            save_every=max(1, steps // 4),
        ),
    )


def _slope(held: list[float]) -> float:
    """How memory grows from one measurement to the next."""
    # The first ones fill caches of libraries.
    tail = held[len(held) // 3 :]
    return round(float(np.polyfit(range(len(tail)), tail, 1)[0]), 6)


def mutated_files(count: int, folder: Path) -> Figures:
    """Damage a compressed volume in many ways; it is the original or refused."""
    draw = random.Random(0)  # noqa: S311 - repeatable
    volume = ct_volume()
    whole = gzip.compress(nifti_bytes(volume.voxels, volume.grid.affine), mtime=0)
    path = folder / "a.nii.gz"

    def one() -> bool:
        path.write_bytes(_spoilt(draw, whole))
        return np.array_equal(read_volume(path).voxels, volume.voxels)

    return _counted(count, one)


def mutated_series(count: int, folder: Path) -> Figures:
    """Damage one slice of a series; whatever is read has the slices that are whole, unchanged."""
    draw = random.Random(1)  # noqa: S311 - repeatable
    place = write_series(folder / "series", make_series(6))
    files = {path: path.read_bytes() for path in sorted(place.iterdir())}
    expected = read_volume(place).voxels
    pixels = expected[:, :, 0].size * 2

    def one() -> bool:
        for path, content in files.items():
            path.write_bytes(content)
        chosen = draw.choice(list(files))
        # Pixels carry no checksum: damage there is another image, which nobody can tell.
        header = len(files[chosen]) - pixels
        path_bytes = files[chosen]
        chosen.write_bytes(_spoilt(draw, path_bytes[:header]) + path_bytes[header:])
        found = read_volume(place, ReadOptions()).voxels
        planes = {plane.tobytes() for plane in np.moveaxis(expected, 2, 0)}
        return all(plane.tobytes() in planes for plane in np.moveaxis(found, 2, 0))

    return _counted(count, one)


def kills(count: int, folder: Path) -> Figures:
    """Kill a writer of latents in the midst of its work; what has the final name is always whole.

    What it was at leaves a temporary file, which the next write of the same latent takes away.
    """
    draw = random.Random(2)  # noqa: S311 - repeatable
    # Large enough that most of the time goes into writing.
    latents = [latent_of(seed=k, shape=(24, 24, 24)) for k in range(8)]
    told: Figures = {
        "kills": count,
        "whole": 0,
        "bad": 0,
        "in_a_write": 0,
        "temporaries": 0,
        "left": 0,
    }
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        # A fork has all modules loaded, so that it is killed while it writes.
        child = os.fork()
        if not child:
            for k, latent in enumerate(itertools.cycle(latents)):
                write_latent(latent, place / f"{k}_latent.nii.gz")
        while not (place / "0_latent.json").exists():
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        finished = sorted(
            place.glob("[0-9]*_latent.nii.gz"), key=lambda p: int(p.name.split("_")[0])
        )
        for path in finished:
            try:
                read_latent(path)
                told["whole"] += 1
            except InputError:
                # The last of them may have lost its record, and is then refused.
                told["bad"] += path.with_name(f"{path.name[:-7]}.json").exists()
        hidden = list(place.glob(".*"))
        told["temporaries"] += len(hidden)
        told["in_a_write"] += bool(hidden)
        for k in {int(path.name[1:].split("_")[0]) for path in hidden}:
            write_latent(latents[k % len(latents)], place / f"{k}_latent.nii.gz")
            read_latent(place / f"{k}_latent.nii.gz")
        told["left"] += len(list(place.glob(".*")))
    return told


def _spoilt(draw: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    at = draw.randrange(len(data))
    kind = draw.randrange(3)
    if kind == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[at : at + draw.randrange(1, 64)]
    else:
        start = draw.randrange(len(data))
        data[at : at + 16] = data[start : start + 16]
    return bytes(data)


def _counted(count: int, one: Callable[[], bool]) -> Figures:
    told = {"inputs": count, "original": 0, "refused": 0, "wrong": 0, "other": 0}
    for _ in range(count):
        try:
            told["original" if one() else "wrong"] += 1
        except CtVaeError:
            told["refused"] += 1
        except Exception as error:
            told["other"] += 1
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
    return told


PARTS = {
    "encode": (300, encode_many),
    "mutated files": (1000, mutated_files),
    "mutated series": (500, mutated_series),
    "kills": (200, kills),
    "training": (6000, train_long),
}


def main() -> int:
    """Do all parts; gives 1 if a figure breaks a promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    scale = parser.parse_args().scale
    warnings.simplefilter("ignore")
    figures: dict[str, Figures] = {}
    for name, (count, part) in PARTS.items():
        with tempfile.TemporaryDirectory(prefix="stress_") as place:
            figures[name] = part(max(2, int(count * scale)), Path(place))
        print(json.dumps({name: figures[name]}), flush=True)
    faults = [f.get(key, 0) for f in figures.values() for key in ("wrong", "other", "bad", "left")]
    encoded, trained = figures["encode"], figures["training"]
    missed = encoded["good"] + encoded["refused"] != encoded["cases"]
    grows = encoded["mb_per_case"] >= 1 or trained["mb_per_100_steps"] >= 1
    return int(any(faults) or missed or grows)


if __name__ == "__main__":
    sys.exit(main())
