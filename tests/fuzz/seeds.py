"""Small inputs that every parser accepts, made by code, from which fuzzing starts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import SimpleITK

from ct_vae.config.model import ModelConfig
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.io import write_latent
from ct_vae.models import build_untrained
from ct_vae.models.weights import CONFIG_KEY, weights_bytes
from tests.fuzz.parsers import BOUNDARY
from tests.io._samples import latent_of, nifti_bytes, with_posterior
from tests.io._series import enhanced, make_series

TINY = ModelConfig(
    down_channels=(1, 1), num_res_blocks=1, mid_attn=False, norm_groups=1, z_channels=1, embed_dim=1
)


def _nifti() -> list[bytes]:
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
    floats = voxels.astype(np.float32) + np.float32(0.25)
    return [
        nifti_bytes(voxels),
        nifti_bytes(floats, cls=nib.Nifti2Image),
        nifti_bytes(voxels, order=">", scl_slope=2, scl_inter=-30),
        nifti_bytes(voxels, sform_code=0),
    ]


def _itk(together: str, apart: str) -> list[bytes]:
    seeds = []
    image = SimpleITK.GetImageFromArray(np.arange(-600, 600, 10, dtype=np.int16).reshape(4, 5, 6))
    image.SetSpacing((0.7, 0.7, 2.5))
    with TemporaryDirectory() as name:
        for packed in (False, True):
            path = Path(name) / together
            SimpleITK.WriteImage(image, str(path), packed)
            seeds.append(path.read_bytes())
            SimpleITK.WriteImage(image, str(path.with_name(apart)), packed)
            (voxels,) = Path(name).glob("a.*raw*")
            header = path.with_name(apart).read_bytes().replace(voxels.name.encode(), b"a.raw")
            seeds.append(header + BOUNDARY + voxels.read_bytes())
            voxels.unlink()
    return seeds


def _latent() -> list[bytes]:
    seeds = []
    with TemporaryDirectory() as name:
        path = Path(name) / "a_latent.nii"
        for kind, dtype in (("mean", "int16"), ("mean", "float32"), ("codes", "int16")):
            write_latent(latent_of(kind, shape=(2, 2, 2)), path, dtype)
            seeds.append(path.read_bytes())
            seeds.append(path.read_bytes() + BOUNDARY + path.with_suffix(".json").read_bytes())
    return seeds


def _coded() -> list[bytes]:
    with TemporaryDirectory() as name:
        path = Path(name) / "a_latent.latz"
        seeds = []
        for latent in (latent_of(shape=(2, 3, 2)), with_posterior(latent_of(shape=(2, 2, 2)))):
            write_latent(latent, path)
            seeds.append(path.read_bytes())
    return seeds


def _dicom() -> list[bytes]:
    return [_joined(make_series(3, sides=(4, 3))), _joined([enhanced(3, sides=(4, 3))])]


def _joined(slices) -> bytes:
    parts = []
    for each in slices:
        buffer = io.BytesIO()
        each.save_as(buffer, enforce_file_format=True)
        parts.append(buffer.getvalue())
    return BOUNDARY.join(parts)


def _datalist() -> list[bytes]:
    entries = [{"image": "a.nii.gz", "patient": "p1"}, "b.nii", {"image": "c", "subject": 3}]
    options = {"nan": "air", "hu_offset": -1024.0}
    full = {"training": entries, "validation": ["d.nii"], "test": [], "read_options": options}
    return [json.dumps(tree).encode() for tree in (full, {"training": ["a.nii.gz"]})]


def _configuration() -> list[bytes]:
    folder = Path(__file__).parents[2] / "configs"
    return [p.read_bytes() for p in sorted(folder.glob("*.json")) if p.name != "schema.json"]


def _model() -> list[bytes]:
    config = ModelFolderConfig(
        name="tiny",
        model=TINY,
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=2.0),
    )
    text = {CONFIG_KEY: config.model_dump_json()}
    return [weights_bytes(build_untrained(TINY).state_dict(), text)]


SEEDS = {
    "nifti": _nifti,
    "metaimage": lambda: _itk("a.mha", "a.mhd"),
    "nrrd": lambda: _itk("a.nrrd", "a.nhdr"),
    "latent": _latent,
    "coded": _coded,
    "dicom": _dicom,
    "datalist": _datalist,
    "configuration": _configuration,
    "model": _model,
}
