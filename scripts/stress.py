"""Long proofs that nothing breaks: memory, mutated inputs, kills. Prints figures as JSON.

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

import numpy as np

from ct_vae.errors import CtVaeError
from ct_vae.inference.codec import load_codec
from ct_vae.inference.device import resident_bytes
from ct_vae.io import ReadOptions, read_latent, read_volume, write_latent, write_volume
from tests._small import ct_volume
from tests.io._samples import latent_of, nifti_bytes
from tests.io._series import make_series, write_series

Figures = dict[str, float | int]


def encode_many(count: int, folder: Path) -> Figures:
    """Encode small cases, every tenth of them damaged, and watch the memory of the process."""
    from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
    from ct_vae.config.preprocess import PreprocessConfig
    from ct_vae.models.model_folder import save_model_folder
    from tests._small import SMALL_MODEL, small_model

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
    # The first cases fill caches of libraries.
    tail = held[len(held) // 3 :]
    slope = float(np.polyfit(range(len(tail)), tail, 1)[0])
    return {"cases": count, "good": good, "refused": bad, "mb_per_case": round(slope, 4)}


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
    """Kill a writer of latents at random moments; what has the final name is always whole."""
    draw, bad = random.Random(2), 0  # noqa: S311 - repeatable
    whole = 0
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        # A fork has all modules loaded, so that it is killed while it writes.
        child = os.fork()
        if not child:
            for k in itertools.count():
                write_latent(latent_of(seed=k), place / f"{k}_latent.nii.gz")
        time.sleep(draw.uniform(0.02, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for path in place.glob("[0-9]*_latent.nii.gz"):
            try:
                read_latent(path)
                whole += 1
            except CtVaeError:
                bad += 1
    return {"kills": count, "whole": whole, "bad": bad}


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
    faults = [f.get(key, 0) for f in figures.values() for key in ("wrong", "other", "bad")]
    encoded = figures["encode"]
    missed = encoded["good"] + encoded["refused"] != encoded["cases"]
    return int(any(faults) or missed or encoded["mb_per_case"] >= 1)


if __name__ == "__main__":
    sys.exit(main())
