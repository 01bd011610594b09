import numpy as np
import pytest

from ct_vae.errors import ConfigError, InputError
from ct_vae.io import read_latent
from ct_vae.io.latent.record import record_bytes
from ct_vae.preprocess.latent_writer import RECORD_KEY, LatentWriter
from tests._small import ct_volume, small_codec


def test_a_latent_comes_back_with_its_record(tmp_path):
    latent = small_codec().encode(ct_volume())
    writer = LatentWriter(dtype="float32")
    writer.set_data_array(latent.array, channel_dim=0)
    writer.set_metadata({RECORD_KEY: record_bytes(latent.record).decode()})
    writer.write(tmp_path / "x_latent.nii.gz", verbose=True)
    read = read_latent(tmp_path / "x_latent.nii.gz")
    assert np.array_equal(read.array, latent.array)
    assert read.record.source == latent.record.source
    assert np.allclose(read.grid.affine, latent.grid.affine)


def test_nothing_is_written_without_a_record():
    with pytest.raises(ConfigError, match="have no ct_vae_latent_record"):
        LatentWriter().set_metadata({})
    with pytest.raises(InputError, match="is not valid JSON"):
        LatentWriter().set_metadata({RECORD_KEY: "{"})


def test_types_and_layouts_that_there_are_not_are_refused():
    with pytest.raises(ConfigError, match="unknown dtype of latents 'float16'"):
        LatentWriter(dtype="float16")
    with pytest.raises(ConfigError, match="unknown layout of latents 'flat'"):
        LatentWriter(layout="flat")


def test_a_layout_is_that_of_the_file(tmp_path):
    latent = small_codec().encode(ct_volume())
    writer = LatentWriter(layout="vector", dtype="float32")
    writer.set_data_array(latent.array, channel_dim=0)
    writer.set_metadata({RECORD_KEY: record_bytes(latent.record).decode()})
    writer.write(tmp_path / "x_latent.nii.gz")
    assert read_latent(tmp_path / "x_latent.nii.gz").record.layout == "vector"
