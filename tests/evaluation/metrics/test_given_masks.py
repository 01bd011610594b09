from pathlib import Path

import numpy as np
import pytest

from ct_vae.errors import ConfigError, InputError, NoInputError
from ct_vae.evaluation.metrics.given_masks import (
    GivenMasks,
    name_masks,
    read_label_names,
    write_masks,
)
from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, write_volume
from ct_vae.masks import Mask
from ct_vae.volume import Volume
from tests._small import ct_volume

PLAIN = ReadOptions()


@pytest.fixture
def labelled(tmp_path):
    reference = ct_volume()
    labels = np.random.default_rng(0).integers(0, 3, reference.grid.shape).astype(np.int16)
    write_volume(Volume(labels, reference.grid), tmp_path / "organs" / "s1" / "a.nii.gz")
    return reference, labels, tmp_path


def test_each_label_is_a_mask_and_names_are_used(labelled):
    reference, labels, folder = labelled
    given = GivenMasks(labels=folder / "organs", names=((2, "liver"),))
    found = given.read(reference, "s1/a", PLAIN)
    assert [mask.name for mask in found] == ["label_1", "liver"]
    for value, mask in enumerate(found, start=1):
        np.testing.assert_array_equal(mask.voxels, labels == value)


def test_what_is_not_zero_counts_in_a_mask(labelled):
    reference, labels, folder = labelled
    path = folder / "organs" / "s1" / "a.nii.gz"
    given = GivenMasks(masks=name_masks([str(path), f"two={folder / 'organs'}"]))
    for mask, name in zip(given.read(reference, "s1/a", PLAIN), ("mask_1", "two"), strict=True):
        assert mask.name == name
        np.testing.assert_array_equal(mask.voxels, labels != 0)


def test_missing_misplaced_and_strange_ones_are_refused(labelled):
    reference, labels, folder = labelled
    given = GivenMasks(labels=folder / "organs")
    with pytest.raises(NoInputError, match="no mask named s1/b"):
        given.read(reference, "s1/b", PLAIN)
    affine = reference.grid.affine.copy()
    affine[0, 3] += 5
    moved = Volume(reference.voxels, Grid(reference.grid.shape, affine))
    with pytest.raises(InputError, match="5 mm apart"):
        given.read(moved, "s1/a", PLAIN)
    broken = Volume((labels + np.float32(0.5)).astype(np.float32), reference.grid)
    with pytest.raises(InputError, match="label map"):
        GivenMasks()._labeled(broken)
    with pytest.raises(NoInputError, match="nowhere"):
        GivenMasks(masks=(("a", folder / "nowhere"),)).check(1)
    with pytest.raises(ConfigError, match="2 cases"):
        GivenMasks(masks=(("a", folder / "organs" / "s1" / "a.nii.gz"),)).check(2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.json", '{"1": "liver", "20": "left kidney"}'),
        ("n.json", '{"liver": 1, "left kidney": 20}'),
        ("n.csv", "label,name\n1,liver\n20,left kidney\n"),
        ("n.csv", "liver,1\nleft kidney,20\n"),
    ],
)
def test_names_are_read_either_way_round(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert dict(read_label_names(tmp_path / name)) == {1: "liver", 20: "left kidney"}


@pytest.mark.parametrize("text", ["[1]", "{", '{"liver": "kidney"}'])
def test_what_holds_no_names_is_refused(tmp_path, text):
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ConfigError, match="label names"):
        read_label_names(tmp_path / "n.json")


def test_written_masks_come_back(labelled):
    reference, labels, folder = labelled
    write_masks([Mask("left kidney", labels == 1)], reference, folder, "case_0001")
    path = folder / "case_0001_left_kidney.nii.gz"
    (found,) = GivenMasks(masks=(("a", path),)).read(reference, "", PLAIN)
    np.testing.assert_array_equal(found.voxels, labels == 1)


def test_a_path_with_an_equals_sign_is_a_path_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "dose=1.nii.gz"
    path.touch()
    assert name_masks([path.name, "liver=b=2", "=c", str(path)]) == (
        ("mask_1", Path(path.name)),
        ("liver", Path("b=2")),
        ("mask_3", Path("=c")),
        ("mask_4", path),
    )


@pytest.mark.parametrize("name", ["body", "in_window", "label_3", "liver"])
def test_names_that_are_taken_are_refused(tmp_path, name):
    given = GivenMasks(masks=((name, tmp_path),), names=((1, "liver"),))
    with pytest.raises(ConfigError, match=f"the name {name}"):
        given.check(1)
    GivenMasks(masks=(("kidney", tmp_path),), names=((1, "liver"),)).check(1)
