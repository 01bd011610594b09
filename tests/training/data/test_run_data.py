import random

import numpy as np
import pytest
import torch

from ct_vae.config.load import parse_config
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import InputError
from ct_vae.training.data.run_data import RunData, given_data, named_data
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.io.hounsfield._disguises import DISGUISES
from tests.io.hounsfield._thorax import thorax
from tests.training.test_trainer import config


def test_the_digest_of_cases_tells_their_order_and_names_none():
    told = [
        RunData([], [], keys).cases for keys in (("a", "b"), ("b", "a"), ("a", "b"), ("secret",))
    ]
    assert told[0] == told[2] != told[1]
    assert told[0].startswith("2 case(s), sha256 ")
    assert "secret" not in told[3]


def patches(change=lambda hu: hu, count=3):
    """Patches with air and tissue, each as a data set in Python may give it."""
    changed = (np.float32(change(thorax(seed))) for seed in range(count))
    return [torch.from_numpy(c[tuple(slice(n // 4 * 4) for n in c.shape)])[None] for c in changed]


class Drawing(torch.utils.data.Dataset):
    """A data set whose items come from every global random state."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        noise = random.random() + np.random.random() + torch.rand(())  # noqa: NPY002
        return {"image": patches()[index] + noise}


def given(tmp_path, data, volumes=(), said=None, settings=None, **options):
    if settings is None:
        image = data[0]["image"] if isinstance(data[0], dict) else data[0]
        settings = config(tmp_path, patch_size=tuple(image.shape[1:]))
    report = (said if said is not None else []).append
    return given_data(settings, data, volumes, report, **options)


# Patches without a mean of their own have no common step.
@pytest.mark.parametrize("name", [name for name in DISGUISES if "its mean" not in name])
def test_patches_that_are_not_in_hu_are_refused_and_force_takes_them(tmp_path, name):
    data = patches(DISGUISES[name])
    with pytest.raises(InputError) as caught:
        given(tmp_path, data)
    assert caught.value.cause.startswith("the training data set ")
    assert "force=True" in caught.value.hint
    said = []
    assert given(tmp_path, data, said=said, force=True).train.data is data
    assert len(said) == 1
    assert said[0].endswith("force takes it")


@pytest.mark.parametrize(
    "data",
    [
        patches(),
        [patch.to(torch.int16) for patch in patches()],
        [{"image": patch, "name": "a"} for patch in patches()],
        # Random crops may well begin with air.
        [*[torch.full((1, 24, 24, 24), -1000.0)] * 30, *patches()],
        # Steps that are not finite are skipped and counted.
        [torch.full((1, 8, 8, 8), torch.nan)],
    ],
)
def test_other_patches_are_taken_without_a_word(tmp_path, data):
    said = []
    given(tmp_path, data, said=said)
    assert not said


def test_looking_changes_nothing_that_is_drawn_later(tmp_path):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = Drawing()[0]["image"]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    given(tmp_path, Drawing(), settings=config(tmp_path))
    torch.testing.assert_close(Drawing()[0]["image"], expected, rtol=0, atol=0)


def test_a_configuration_for_other_units_is_believed(tmp_path):
    settings = config(tmp_path)
    units = settings.model_copy(update={"preprocess": PreprocessConfig(window_hu=(0, 1))})
    given(tmp_path, patches(DISGUISES["0..1"]), settings=units)


def test_validation_volumes_are_looked_at_as_well(tmp_path):
    good = ct_volume()
    wrong = Volume(np.float32(good.voxels / 1000), good.grid)
    given(tmp_path, patches(), [good])
    with pytest.raises(InputError, match="the first validation volume is not in HU"):
        given(tmp_path, patches(), [wrong])
    said = []
    given(tmp_path, patches(), [wrong], said=said, force=True)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([torch.full((1, 8, 8, 8), -1000.0)], "is constant: every voxel is -1000"),
        ([torch.zeros(1, 8, 8, 8)] * 50, r"is constant: every voxel is 0 \(in 40 of its images"),
        ([torch.full((1, 8, 8, 8), -1000.0 - n) for n in range(20)], "is only air"),
        ([torch.full((1, 8, 8, 8), -3000.0)], "is only padding"),
    ],
)
def test_a_data_set_of_air_alone_is_refused(tmp_path, data, words):
    with pytest.raises(InputError, match=words):
        given(tmp_path, data)
    said = []
    given(tmp_path, data, said=said, force=True)
    assert len([line for line in said if line.endswith("force takes it")]) == 1


@pytest.mark.parametrize("name", ["0..1", "-1..1"])
def test_validation_patches_that_are_not_in_hu_are_refused(tmp_path, name):
    data = patches(DISGUISES[name])
    with pytest.raises(InputError, match="the validation data set"):
        given(tmp_path, patches(), data)


def test_validation_sets_beside_named_data_are_checked_and_forced_alike(tmp_path):
    tree = config(tmp_path).as_json()
    phantoms = {"train": 1, "val": 1, "anatomies": ["head"], "spacing_mm": [16, 16, 16]}
    tree["data"] = {"phantoms": phantoms, "image_key": "ct"}
    settings, wrong, said = parse_config(tree, "test"), patches(DISGUISES["0..1"]), []
    with pytest.raises(InputError, match="the validation data set"):
        named_data(settings, wrong, said.append)
    assert named_data(settings, wrong, said.append, force=True).val_patches
    assert any(line.endswith("force takes it") for line in said)
    assert not any("image_key" in line for line in said)
    named_data(settings, None, said.append)
    assert any("data.image_key" in line for line in said)
