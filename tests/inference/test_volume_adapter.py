import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.inference.volume_adapter import VolumeAdapter
from tests._asserts import assert_close
from tests._small import ct_volume, small_codec, small_model


def test_gray_values_fill_all_channels_and_outputs_are_averaged():
    codec, volume = small_codec(in_channels=3, out_channels=3), ct_volume((12, 8, 8))
    latent, whole = codec.encode(volume), codec.encode(volume, tiling="whole")
    assert_close(torch.tensor(latent.array), torch.tensor(whole.array), 1e-5)
    decoded, expected = codec.decode(whole), codec.decode(whole, tiling="whole")
    assert_close(torch.tensor(decoded.voxels), torch.tensor(expected.voxels), 1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_2d_model_meets_the_volume_slice_by_slice(channels):
    codec = small_codec(spatial_dims=2, in_channels=channels, out_channels=channels)
    volume = ct_volume((12, 8, 11))
    latent = codec.encode(volume)
    assert latent.array.shape == (4, 3, 2, 11)
    assert latent.record.factor == (4, 4, 1)
    assert (latent.record.spatial_dims, latent.record.image_channels) == (2, channels)
    x = codec.preprocessor(volume, (4, 4, 1)).tensor[0, 0, :, :, 5]
    with torch.inference_mode():
        posterior = codec.network.model.encode(x.expand(1, channels, -1, -1))
        image = codec.network.model.decode(posterior.mean).mean(1)[0]
    np.testing.assert_allclose(latent.array[..., 5], posterior.mean[0].numpy(), atol=1e-5)
    decoded = codec.decode(latent)
    expected = (image.clamp(-1, 1) * 1000).numpy()
    np.testing.assert_allclose(decoded.voxels[:, :, 5], expected, atol=0.05)


def test_a_1d_model_is_refused():
    with pytest.raises(ConfigError, match="cannot encode volumes"):
        small_codec(spatial_dims=1)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_halves_are_the_parts_of_the_model(spatial_dims):
    adapter = VolumeAdapter(small_model(spatial_dims=spatial_dims).eval())
    assert adapter.factor == ((4, 4, 1) if spatial_dims == 2 else (4, 4, 4))
    assert adapter.streams is (spatial_dims == 3)
    x = torch.randn(1, 1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = adapter.features(x)
        image = adapter.decode(features[:, :4])
        if spatial_dims == 3:
            assert_close(adapter.encoding(x), features, 1e-5)
            assert_close(adapter.decoding(features[:, :4]), image, 1e-5)
    assert features.shape == (1, 8, 2, 1, 4 if spatial_dims == 2 else 1)
    assert image.shape == x.shape


def test_the_model_returns_to_its_device_after_an_error():
    adapter = VolumeAdapter(small_model().eval())
    with pytest.raises(RuntimeError, match="full"), adapter.moved_to(torch.device("cpu")):
        raise RuntimeError("full")
    assert adapter.device == torch.device("cpu")
