import pytest
import torch

from ct_vae.blocks.memory_format import memory_format
from ct_vae.config.model import ModelConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.config.run import RunConfig
from ct_vae.errors import InputError
from ct_vae.training.data.model_units import ToModelUnits

CPU = torch.device("cpu")


def converter(**model):
    numbers = {"down_channels": (4,), "mid_attn": False, "norm_groups": 1, **model}
    preprocess = PreprocessConfig(window_hu=(-1000.0, 1000.0))
    return ToModelUnits(RunConfig(model=ModelConfig(**numbers), preprocess=preprocess), CPU)


def test_hu_are_scaled_clipped_and_repeated_for_every_image_channel():
    patches = torch.tensor([-2000, -1000, 0, 500, 3000], dtype=torch.int16).view(1, 1, 5, 1, 1)
    to_model_units = converter(in_channels=3, out_channels=3)
    images = to_model_units(patches)
    assert images.shape == (1, 3, 5, 1, 1)
    for channel in images[0]:
        assert channel.flatten().tolist() == [-1, -1, 0, 0.5, 1]
    assert to_model_units.hu_per_unit == 1000


def test_images_of_several_channels_stay_as_they_are_and_lie_as_networks_do():
    images = converter(in_channels=2, out_channels=2)(torch.zeros(1, 2, 4, 4, 4))
    assert images.shape == (1, 2, 4, 4, 4)
    assert images.is_contiguous(memory_format=memory_format(3))


def test_another_number_of_axes_is_refused():
    with pytest.raises(InputError, match=r"a channel axis and 3 sides, got shape \(1, 4, 4\)"):
        converter()(torch.zeros(2, 1, 4, 4))
