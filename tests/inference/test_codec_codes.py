"""Volumes as codes: what the codec owes for models that quantize."""

import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.inference.tiling import Tiling
from ct_vae.io import read_latent, write_latent
from tests._small import SMALL_CODES, ct_volume, small_codec

KIND = pytest.mark.parametrize("kind", SMALL_CODES)


@KIND
def test_a_volume_becomes_codes_and_comes_back(kind, tmp_path):
    codec, volume = small_codec(base=SMALL_CODES[kind]), ct_volume()
    latent = codec.encode(volume)
    assert latent.record.kind == "codes"
    assert latent.array.shape == latent.grid.shape == (4, 3, 3)
    assert latent.array.dtype == np.uint16
    assert latent.record.statistics is None
    path = tmp_path / "case_latent.nii.gz"
    write_latent(latent, path)
    again = read_latent(path)
    np.testing.assert_array_equal(again.array, latent.array)
    decoded = codec.decode(again)
    assert decoded.grid == volume.grid
    np.testing.assert_array_equal(decoded.voxels, codec.reconstruct(volume).voxels)


@KIND
def test_codes_are_those_of_the_model_alone(kind):
    codec, volume = small_codec(base=SMALL_CODES[kind]), ct_volume()
    prepared = codec.preprocessor(volume, codec.network.factor)
    with torch.inference_mode():
        told = codec.network.model.encode(prepared.tensor)
    np.testing.assert_array_equal(codec.encode(volume, tiling="whole").array, told.indices[0])


def test_more_codes_than_uint16_holds_are_int32(tmp_path):
    base = SMALL_CODES["vq"].model_copy(
        update={"quantizer": "lfq", "embed_dim": 17, "z_channels": 17, "codebook_size": 2**17}
    )
    latent = small_codec(base=base).encode(ct_volume())
    assert latent.array.dtype == np.int32
    assert latent.array.max() < 2**17


@KIND
def test_quantization_happens_once_after_blending(kind):
    """Codes of blended tiles are codes of the blended latent, not blends of codes."""
    tiling = Tiling("blend", tile=8, overlap=0.5)
    codec, volume = small_codec(tiling, base=SMALL_CODES[kind]), ct_volume((17, 12, 12))
    latent = codec.encode(volume)
    assert latent.record.tiling.method == "blend"
    assert latent.array.max() < codec.network.model.codebook_size


def test_a_model_with_codes_has_nothing_to_draw_from():
    with pytest.raises(ConfigError, match="no posterior to sample"):
        small_codec(base=SMALL_CODES["vq"]).encode(ct_volume(), sample=True, seed=1)


def test_a_latent_of_the_other_kind_is_refused():
    codes, means = small_codec(base=SMALL_CODES["vq"]), small_codec()
    with pytest.raises(InputError, match="kind 'mean' cannot be decoded by a model with codes"):
        codes.decode(means.encode(ct_volume()))
    with pytest.raises(InputError, match="kind 'codes' cannot be decoded by a model without codes"):
        means.decode(codes.encode(ct_volume()))
