import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import Resize

from ct_vae.datasets.resize import resize
from ct_vae.errors import InputError


def banal_axis(values, size, axis):
    """Linear along one axis: outputs are at (i + 1/2) n / m - 1/2, and edges go on."""
    n = values.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    low = np.minimum(np.floor(place).astype(int), n - 1)
    high = np.minimum(low + 1, n - 1)
    weight = (place - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight


@given(st.data(), st.integers(1, 3), st.integers(0, 100))
def test_resizing_is_linear_interpolation_along_each_axis(data, dims, seed):
    sides = data.draw(st.tuples(*[st.integers(1, 9)] * dims))
    size = data.draw(st.tuples(*[st.integers(1, 9)] * dims))
    image = np.random.default_rng(seed).integers(-1000, 1000, (2, *sides)).astype(np.int16)
    expected = image.astype(float)
    for axis, side in enumerate(size):
        expected = banal_axis(expected, side, axis + 1)
    found = resize(torch.from_numpy(image), size)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-2)


def test_it_is_what_monai_does():
    image = torch.from_numpy(np.random.default_rng(0).normal(0, 300, (1, 9, 8, 7))).float()
    theirs = Resize((5, 8, 11), mode="trilinear", align_corners=False)(image)
    torch.testing.assert_close(resize(image, (5, 8, 11)), theirs.as_tensor())


def test_what_has_the_size_is_left_alone_and_the_rest_becomes_float32():
    image = torch.arange(24, dtype=torch.int16).reshape(1, 2, 3, 4)
    assert resize(image, (2, 3, 4)) is image
    assert resize(image, (2, 3, 8)).dtype == torch.float32


def test_a_ramp_stays_the_ramp_between_the_same_faces():
    ramp = torch.arange(8.0)[None]
    torch.testing.assert_close(resize(ramp, (4,)), torch.tensor([[0.5, 2.5, 4.5, 6.5]]))


def test_other_numbers_of_sides_are_refused():
    with pytest.raises(InputError, match=r"\(1, 4, 4\) cannot be resized to \(8, 8, 8\)"):
        resize(torch.zeros(1, 4, 4), (8, 8, 8))
    with pytest.raises(InputError, match="cannot be resized"):
        resize(torch.zeros(1, 2, 2, 2, 2), (8, 8, 8, 8))
