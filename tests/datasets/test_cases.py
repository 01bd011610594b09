import json

import pytest

from ct_vae.config.data import DataConfig, PhantomConfig
from ct_vae.datasets.cases import build_split
from ct_vae.errors import ConfigError, NoInputError
from ct_vae.io import write_volume
from tests._small import ct_volume


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        write_volume(ct_volume(), tmp_path / f"{name}.nii.gz")
    return tmp_path


def datalist(folder, **lists):
    path = folder / "list.json"
    path.write_text(json.dumps(lists))
    return DataConfig(datalist=str(path))


def test_phantoms_are_what_comes_without_a_source():
    split = build_split(DataConfig())
    assert [c.key for c in split.train][:3] == ["thorax_0000", "abdomen_0001", "head_0002"]
    assert [c.key for c in split.val] == ["thorax_0006"]
    seeds = {c.seed for c in [*split.train, *split.val]}
    assert len(seeds) == len(split.train) + len(split.val)


def test_settings_of_phantoms_are_followed():
    config = PhantomConfig(train=2, val=1, anatomies=("head",), seed=9, spacing_mm=(12.0,) * 3)
    split = build_split(DataConfig(phantoms=config))
    assert [c.key for c in [*split.train, *split.val]] == ["head_0009", "head_0010", "head_0011"]
    assert split.val[0].load().grid.spacing_mm == (12, 12, 12)


def test_a_datalist_takes_paths_and_objects_from_its_own_folder(folder):
    split = build_split(
        datalist(folder, training=[{"image": "a.nii.gz"}, "b.nii.gz"], validation=["c.nii.gz"])
    )
    assert [c.key for c in split.train] == ["a.nii.gz", "b.nii.gz"]
    assert split.val[0].load().grid == ct_volume().grid


def test_all_problems_of_a_datalist_are_told_at_once(folder):
    config = datalist(
        folder, training=["x.nii.gz", {"label": "a"}, "a.nii.gz", "a.nii.gz"], validation=[]
    )
    with pytest.raises(ConfigError) as caught:
        build_split(config)
    text = str(caught.value)
    for words in (
        "4 problem(s)",
        "training[0] x.nii.gz is missing",
        "training[1] needs a path",
        "training[3] a.nii.gz stands twice",
        "'validation' is missing or empty",
    ):
        assert words in text


def test_a_volume_on_both_sides_is_refused(folder):
    with pytest.raises(ConfigError, match="1 volumes stand in training and validation"):
        build_split(datalist(folder, training=["a.nii.gz"], validation=["a.nii.gz"]))


def test_folders_of_several_sites_may_hold_the_same_names(folder):
    for site in ("s1", "s2"):
        write_volume(ct_volume(), folder / site / "case.nii.gz")
    config = DataConfig(train=(str(folder / "s1"), str(folder / "s2")), val=(str(folder / "a*"),))
    split = build_split(config)
    assert (len(split.train), len(split.val)) == (2, 1)


def test_folders_without_volumes_are_told(tmp_path):
    with pytest.raises(NoInputError, match="no volumes"):
        build_split(DataConfig(train=(str(tmp_path),)))


def test_the_shipped_example_has_the_right_shape(repository):
    with pytest.raises(ConfigError) as caught:
        build_split(DataConfig(datalist=str(repository / "data" / "example_datalist.json")))
    assert "3 problem(s)" in str(caught.value)
    assert str(caught.value).count("is missing") == 3
