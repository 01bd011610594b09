import pytest
import torch

from ct_vae.config.run import RunConfig
from ct_vae.errors import InputError
from ct_vae.training.data.given import ImageDataset
from ct_vae.training.data.images import ImageReader
from ct_vae.training.data.loader import Batches

READER = ImageReader(RunConfig.model_validate({"model": {"spatial_dims": 1}}))


class Crops:
    """Lists of random crops; counts how often an item is read."""

    def __init__(self, items, samples):
        self.items, self.samples, self.read = items, samples, 0

    def __len__(self):
        return self.items

    def __getitem__(self, index):
        self.read += 1
        return [
            {"image": torch.full((1, 4), 10.0 * index + sample)} for sample in range(self.samples)
        ]


def test_batches_hold_all_samples_of_each_item_and_read_it_once():
    data = Crops(3, 4)
    batches = Batches(ImageDataset(data, READER, 4), samples=12, batch_size=4, seed=1)
    seen = torch.cat(list(batches(0)))[:, 0, 0].tolist()
    assert sorted(seen) == [10.0 * item + sample for item in range(3) for sample in range(4)]
    assert data.read == 3
    # One that goes on in the middle of an item has what the other had.
    assert torch.cat(list(batches(6)))[:, 0, 0].tolist() == seen[6:]


def test_items_with_other_numbers_of_samples_are_refused():
    images = ImageDataset([[torch.zeros(1, 4)] * n for n in (2, 3)], READER, 2)
    assert len(images) == 4
    with pytest.raises(InputError, match="item 1 of the data set is a list of 3 samples"):
        images[2]


def test_random_crops_of_monai_are_read_once_for_all_their_samples():
    from monai.data import Dataset
    from monai.transforms import RandSpatialCropSamplesd

    crops = RandSpatialCropSamplesd("ct", (8,), num_samples=3, random_size=False)
    data = Dataset([{"ct": torch.full((1, 20), 10.0 * n)} for n in range(4)], crops)
    batches = Batches(ImageDataset(data, READER, 3), samples=12, batch_size=6, seed=0)
    first, second = (batch[:, 0] for batch in batches(0))
    assert first.shape == (6, 8)
    assert sorted(torch.cat([first, second])[:, 0].tolist()) == [
        10.0 * n for n in range(4) for _ in range(3)
    ]
