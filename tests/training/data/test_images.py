import numpy as np
import pytest
import torch
from nibabel import Nifti1Image

from ct_vae.config.data import DataConfig
from ct_vae.config.run import RunConfig
from ct_vae.errors import InputError
from ct_vae.training.data.images import ImageReader

HU = np.arange(4 * 8 * 12, dtype=np.int16).reshape(1, 4, 8, 12)
IMAGE = torch.from_numpy(HU)


def reader(dims=3, key=None, **sections):
    tree = {"model": {"spatial_dims": dims}, "data": {"image_key": key}, **sections}
    return ImageReader(RunConfig.model_validate(tree))


class ScalarImage:
    """Stands for TorchIO's class of this name."""

    def __init__(self, data):
        self.data = data


class LabelMap:
    """Stands for TorchIO's, which is no ``ScalarImage``."""

    def __init__(self, data):
        self.data = data


@pytest.mark.parametrize(
    "item",
    [
        IMAGE,
        IMAGE[0],
        HU,
        HU[0],
        HU.astype(">f4"),
        HU.astype(np.uint16),
        np.broadcast_to(HU, HU.shape),
        {"image": HU, "label": IMAGE},
        {"ct": IMAGE, "name": "a", "age": 7},
        {"scan": ScalarImage(IMAGE), "age": 7},
        {"organs": LabelMap(IMAGE), "scan": ScalarImage(IMAGE)},
        (IMAGE, 3),
        (HU, torch.ones(1, 4, 8, 12)),
        ({"image": IMAGE}, 3),
        [IMAGE, 3],
        {"nifti": Nifti1Image(HU[0], np.diag([1.0, 1.0, 2.0, 1.0])), "name": "a"},
    ],
)
def test_items_of_every_library_give_the_same_image(item):
    (image,) = reader()(item)
    assert type(image) is torch.Tensor
    assert image.shape == IMAGE.shape
    np.testing.assert_array_equal(image.numpy().astype(np.int16), HU)


def test_a_nifti_image_is_oriented_as_the_preprocessing_says():
    left = Nifti1Image(HU[0][::-1], np.diag([-1.0, 1.0, 2.0, 1.0]))
    (image,) = reader()(left)
    np.testing.assert_array_equal(image.numpy(), HU)
    (image,) = reader(preprocess={"axcodes": "SPL"})(left)
    np.testing.assert_array_equal(image.numpy()[0], HU[0].transpose(2, 1, 0)[:, ::-1, ::-1])


def test_samples_of_a_list_are_images_of_their_own():
    images = reader()([{"image": IMAGE + n, "label": n} for n in range(3)])
    assert [int(image[0, 0, 0, 0]) for image in images] == [0, 1, 2]
    assert len(reader()([IMAGE, IMAGE])) == 2


def test_the_key_chooses_among_images():
    item = {"ct": IMAGE, "mr": IMAGE + 1}
    assert torch.equal(reader(key="mr")(item)[0], IMAGE + 1)
    with pytest.raises(InputError, match=r"2 images, \['ct', 'mr'\].*image_key"):
        reader()(item)
    with pytest.raises(InputError, match=r"'pet'.*\['ct', 'mr'\]"):
        reader(key="pet")(item)


def test_flat_and_long_images_have_their_axes_put_right():
    assert reader(dims=2)(torch.zeros(1, 8, 12, 1))[0].shape == (1, 8, 12)
    assert reader(dims=2)(torch.zeros(8, 12))[0].shape == (1, 8, 12)
    assert reader(dims=1)(torch.zeros(8))[0].shape == (1, 8)
    resized = reader(dims=2, data=DataConfig(resize_to="resolution").model_dump())
    assert resized(torch.zeros(8, 12))[0].shape == (1, 256, 256)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (None, "None"),
        ("path.nii.gz", "is str"),
        ({"label": 3}, r"no image \(its keys are \['label'\]\)"),
        ([[1.0, 2.0], [3.0, 4.0]], "with_format"),
        (np.array([object()]), "NumPy array of object"),
        ((), "None"),
        (torch.zeros(1, 1, 4, 8, 12), r"3 sides, got shape \(1, 1, 4, 8, 12\)"),
        (torch.zeros(1, 8, 12), r"3 sides, got shape \(1, 8, 12\)"),
        (torch.zeros(8, 8, 8, 1), r"which come first, got shape \(8, 8, 8, 1\)"),
    ],
)
def test_everything_else_is_refused_with_what_was_given(item, words):
    with pytest.raises(InputError, match=words):
        reader()(item)
