"""Measure a model on CT: ``measure_default.py MODEL --train DATALIST VOLUME... [--json FILE]``.

Prints a Markdown table: RMSE in HU inside the body, clipped to [-1000, 1000], and in the
soft-tissue window, beside the best linear code (KLT) with as many numbers that was fitted on the
training volumes; the standard deviation of the noise in flat soft tissue, and the share of its
variance that is kept; and the error next to faces of latent voxels over that
inside, which is 1 where no grid is visible.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import ct_vae
from ct_vae.blocks.patch import space_to_depth
from ct_vae.evaluation.texture.noise import measure_texture
from ct_vae.inference.codec import Codec
from ct_vae.io import read_volume
from ct_vae.masks import body_mask
from ct_vae.models.linear_code import BlockKLT, LinearCode
from ct_vae.preprocess.restoration import restore
from ct_vae.volume import BODY_ABOVE_HU, Volume

BoolArray = NDArray[np.bool_]
_FULL, _SOFT = (-1000.0, 1000.0), (-160.0, 240.0)
# Blocks of a training volume that are drawn, times its weight.
_BLOCKS = 50_000


def fit_klt(codec: Codec, datalist: Path) -> LinearCode:
    """The linear code of the blocks of the body in the training volumes, by their weights."""
    factor, channels = codec.network.factor, codec.network.model.latent_channels
    klt = BlockKLT(factor)
    rng = np.random.default_rng(0)
    for entry in json.loads(datalist.read_text())["training"]:
        volume = read_volume(datalist.parent / entry["image"])
        units = codec.preprocessor(volume, factor).tensor.float()
        rows = space_to_depth(units, factor)[0].movedim(0, -1).flatten(0, -2)
        threshold = codec.preprocessor.scale.to_model(torch.tensor(float(BODY_ABOVE_HU)))
        body = rows[(rows > threshold).float().mean(1) > 0.25]
        count = round(_BLOCKS * entry["weight"])
        klt.add_blocks(body[rng.integers(len(body), size=count)])
    return klt.fit(channels)


def coded(codec: Codec, volume: Volume, code: LinearCode) -> Volume:
    """The volume through the linear code."""
    factor = codec.network.factor
    prepared = codec.preprocessor(volume, factor)
    back = code.decode(code.encode(prepared.tensor.float(), factor), factor)
    return restore(back[0, 0], prepared.record, volume.grid)


def rmse(original: Volume, other: Volume, inside: BoolArray, window: Sequence[float]) -> float:
    """Root of the mean squared error of values clipped to a window."""
    a, b = (v.voxels[inside].astype(np.float64).clip(*window) for v in (original, other))
    return float(np.sqrt(np.square(a - b).mean()))


def face_ratio(codec: Codec, original: Volume, other: Volume, inside: BoolArray) -> float:
    """RMSE of voxels next to faces of latent voxels over that of the others, mean of the axes."""
    codes = codec.preprocessor.axcodes
    grid = original.grid
    error = np.square(
        original.voxels.astype(np.float64).clip(*_FULL)
        - other.voxels.astype(np.float64).clip(*_FULL)
    )
    turned = grid.reorient_array(error, codes), grid.reorient_array(inside, codes)
    ratios = []
    for axis, step in enumerate(codec.network.factor):
        place = np.arange(turned[0].shape[axis]) % step
        shape = [1, 1, 1]
        shape[axis] = -1
        face = np.isin(place, (0, step - 1)).reshape(shape)
        near, far = turned[1] & face, turned[1] & ~face
        ratios.append(np.sqrt(turned[0][near].mean() / turned[0][far].mean()))
    return float(np.mean(ratios))


def measure(codec: Codec, path: Path, code: LinearCode) -> dict[str, float | str | None]:
    """All figures of one volume."""
    original = read_volume(path)
    body = body_mask(original)
    inside = body.voxels
    decoded = codec.reconstruct(original)
    linear = coded(codec, original, code)
    texture = measure_texture(original, decoded, body)
    return {
        "case": path.name.removesuffix(".nii.gz"),
        "rmse": rmse(original, decoded, inside, _FULL),
        "klt": rmse(original, linear, inside, _FULL),
        "soft": rmse(original, decoded, inside, _SOFT),
        "klt_soft": rmse(original, linear, inside, _SOFT),
        "noise_hu": texture.noise_hu,
        "noise_ratio": texture.noise_ratio,
        "faces": face_ratio(codec, original, decoded, inside),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("volumes", nargs="+", type=Path)
    parser.add_argument("--train", type=Path, required=True, help="datalist of the training data")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    codec = ct_vae.load_codec(given.model)
    code = fit_klt(codec, given.train)
    print("| volume | RMSE HU | KLT | below KLT | soft tissue | of KLT | noise | kept | faces |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for path in given.volumes:
        row = measure(codec, path, code)
        rows.append(row)
        noise, kept = (
            "-" if row[name] is None else f"{row[name]:.{digits}f}"
            for name, digits in (("noise_hu", 1), ("noise_ratio", 2))
        )
        print(
            f"| {row['case']} | {row['rmse']:.1f} | {row['klt']:.1f} | "
            f"{100 * (1 - row['rmse'] / row['klt']):.0f} % | {row['soft']:.1f} | "
            f"{row['soft'] / row['klt_soft']:.2f} | {noise} | {kept} | {row['faces']:.3f} |",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
