"""Small files and volumes that the tests of this folder share."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from isal import igzip

from ct_vae.grid import Grid
from ct_vae.latent import (
    GridRecord,
    Latent,
    LatentRecord,
    LatentStatistics,
    ModelRecord,
    PreprocessRecord,
    RunRecord,
    SourceRecord,
    TilingRecord,
)
from ct_vae.volume import Volume

AFFINE = np.array([[-0.75, 0, 0, 90], [0, 0.75, 0, -120.5], [0, 0, 2.5, 33], [0, 0, 0, 1]])


def ct_voxels(shape=(6, 7, 8), seed=0, dtype=np.int16):
    """Values as CT has them: air, soft tissue, bone, all with noise."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice([-1000, -100, 40, 700], shape, p=[0.4, 0.1, 0.4, 0.1])
    return np.asfortranarray(np.clip(kinds + rng.normal(0, 15, shape), -1024, 3000).astype(dtype))


def ct_volume(shape=(6, 7, 8), seed=0, affine=AFFINE, dtype=np.int16):
    return Volume(ct_voxels(shape, seed, dtype), Grid(shape, affine))


def nifti_bytes(array, affine=AFFINE, *, cls=nib.Nifti1Image, order="<", **fields):
    """An uncompressed file written by nibabel; ``fields`` overwrite its header unchecked."""
    header = cls.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    image = cls(array, affine, header, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    buffer = io.BytesIO()
    image.to_stream(buffer)
    content = buffer.getvalue()
    if not fields:
        return content
    size = 348 if cls is nib.Nifti1Image else 540
    raw = cls.header_class(content[:size], order, check=False)
    for name, value in fields.items():
        raw[name] = value
    return raw.binaryblock + content[size:]


def gz(content, level=1):
    return igzip.compress(content, level)


def latent_of(
    kind="mean", channels=4, shape=(3, 4, 5), seed=0, factor=(4, 4, 4), array=None, **changes
):
    """A latent whose record and grid belong together, from an oblique LPS source."""
    side = tuple(n * f for n, f in zip(shape, factor, strict=True))
    angle = np.deg2rad(12)
    affine = np.eye(4)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    affine[:3, :3] = np.array(turn) * [0.7, 0.7, 3.0]
    affine[:3, 3] = [-100.25, 33.3, -700.125]
    padded = Grid(side, affine)
    low, high = (1, 0, 2), (0, 3, 1)
    inner = padded.crop(low, [n - h for n, h in zip(side, high, strict=True)])
    rng = np.random.default_rng(seed)
    if array is None and kind == "codes":
        array = rng.integers(0, 8192, shape)
    elif array is None:
        array = (rng.normal(0, 3, (channels, *shape)) + 1).astype(np.float32)
    record = LatentRecord(
        model=ModelRecord(
            name="kl_f4", sha256="a" * 64, latent_type="vq" if kind == "codes" else "kl"
        ),
        source=SourceRecord(
            sha256="b" * 64, grid=GridRecord.of(inner), dtype="int16", format="nifti"
        ),
        preprocess=PreprocessRecord(
            axcodes="RAS",
            resampled=False,
            oriented=GridRecord.of(inner),
            window_hu=(-1000.0, 1000.0),
            model_range=(-1.0, 1.0),
            clipped_below=0.0,
            clipped_above=0.25,
            outside_fov=0.0,
            pad_low=low,
            pad_high=high,
        ),
        factor=factor,
        kind=kind,
        tiling=TilingRecord(method="whole"),
        scaling_factor=0.18215,
        statistics=None
        if kind == "codes"
        else LatentStatistics(mean=(1.0,) * 4, std=(3.0,) * 4, posterior_std=(0.05,) * channels),
        run=RunRecord(versions={"torch": "2"}, device="cpu", seconds=1.5, peak_memory_mb=10.0),
        **changes,
    )
    return Latent(array, record.latent_grid(), record)


def with_posterior(latent, seed=1):
    """The same latent with standard deviations of the posterior."""
    std = np.random.default_rng(seed).uniform(0.02, 0.08, latent.array.shape).astype(np.float32)
    record = latent.record.model_copy(update={"posterior": True})
    return Latent(latent.array, latent.grid, record, std)


class Disk:
    """Counts the operations that reach the disk, and lets the n-th of one kind fail.

    Writes are cut to ``piece`` bytes, as a disk may do, so that there are many of them.
    """

    def __init__(self, patch: pytest.MonkeyPatch, piece: int = 200) -> None:
        self.piece = piece
        self.counts = {"write": 0, "pwrite": 0, "fsync": 0, "replace": 0}
        self.failing: tuple[str, int, int] | None = None
        self.replaced = 0
        for name in self.counts:
            patch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, original: Callable) -> Callable:
        def call(*args, **kwargs):
            self.counts[name] += 1
            if self.failing and self.failing[:2] == (name, self.counts[name]):
                code = self.failing[2]
                raise OSError(code, os.strerror(code))
            if name == "write":
                args = args[0], bytes(args[1][: self.piece])
            result = original(*args, **kwargs)
            self.replaced += name == "replace"
            return result

        return call

    def fail_at(self, name: str, number: int, code: int) -> None:
        self.clear()
        self.failing = (name, number, code)
        self.replaced = 0

    def clear(self) -> None:
        """Count from here on."""
        self.counts = dict.fromkeys(self.counts, 0)

    def points(self) -> list[tuple[str, int]]:
        """All operations that were counted, each of which may fail."""
        return [(name, n) for name, count in self.counts.items() for n in range(1, count + 1)]

    def heal(self) -> None:
        self.failing = None


CODES = [errno.ENOSPC, errno.EIO]
