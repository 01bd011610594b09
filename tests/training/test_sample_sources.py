import json

import numpy as np
import pytest

from ct_vae.config.load import parse_config
from ct_vae.errors import ConfigError, InputError, NoInputError
from ct_vae.io import ReadOptions, write_volume
from ct_vae.training import train
from ct_vae.training.sample_sources import find_originals, run_settings
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.training.test_trainer import config, patches

PHANTOMS = {"train": 1, "val": 2, "seed": 5, "spacing_mm": [16.0, 16.0, 16.0]}


@pytest.fixture(scope="module")
def phantom_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "run"
    tree = config(folder, save_every=8).as_json()
    tree["data"] = {"phantoms": PHANTOMS}
    # Others to validate on, for phantoms take a second each.
    return train(None, parse_config(tree, "test"), [ct_volume()])


@pytest.fixture
def volumes(tmp_path):
    for i, name in enumerate("abc"):
        write_volume(ct_volume(seed=i), tmp_path / "in" / f"{name}.nii.gz")
    return tmp_path / "in"


def written(tmp_path, data):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"data": data}))
    return path


def test_phantoms_of_a_run_are_made_again(phantom_run):
    found = find_originals(phantom_run)
    assert [case.key for case in found] == ["thorax_0006", "abdomen_0007"]
    for make in found.values():
        assert make().grid.spacing_mm == (16, 16, 16)


def test_inputs_go_before_what_the_run_tells(phantom_run, volumes):
    found = find_originals(phantom_run, [str(volumes)])
    assert [case.key for case in found] == ["a", "b", "c"]
    for i, read in enumerate(found.values()):
        np.testing.assert_array_equal(read().voxels, ct_volume(seed=i).voxels)


@pytest.mark.parametrize("named", ["patterns", "datalist"])
def test_a_configuration_tells_its_validation_volumes(phantom_run, volumes, tmp_path, named):
    train_on, validate_on = volumes / "a.nii.gz", volumes / "b.nii.gz"
    data = {"train": [str(train_on)], "val": [str(validate_on)]}
    if named == "datalist":
        lists = {"training": ["in/a.nii.gz"], "validation": [{"image": "in/b.nii.gz"}]}
        (tmp_path / "list.json").write_text(json.dumps(lists))
        data = {"datalist": str(tmp_path / "list.json")}
    found = find_originals(phantom_run, config=written(tmp_path, data))
    assert [case.path for case in found] == [validate_on]


def test_files_are_read_as_told(phantom_run, volumes, tmp_path):
    shifted = ct_volume()
    write_volume(Volume(shifted.voxels + np.int16(1024), shifted.grid), volumes / "a.nii.gz")
    data = {"train": [str(volumes / "b.nii.gz")], "val": [str(volumes / "a.nii.gz")]}
    path = written(tmp_path, data)
    for given in ({"inputs": [str(volumes / "a.nii.gz")]}, {"config": path}):
        (read,) = find_originals(phantom_run, **given).values()
        with pytest.raises(InputError):
            read()
        (read,) = find_originals(
            phantom_run, **given, reading=ReadOptions(hu_offset=-1024)
        ).values()
        np.testing.assert_array_equal(read().voxels, shifted.voxels)


def test_a_run_on_files_or_ones_own_data_asks_for_volumes(volumes, tmp_path):
    own = train(patches(), config(tmp_path / "own"))
    tree = config(tmp_path / "files").as_json()
    tree["data"] = {"train": [str(volumes)]}
    for run in (own, train(None, parse_config(tree, "test"))):
        with pytest.raises(ConfigError, match="does not store where its volumes are; name volumes"):
            find_originals(run)
        settings, phantoms = run_settings(run)
        assert settings.patch_size == (8, 8, 8)
        assert not phantoms


def test_a_model_folder_without_settings_asks_for_volumes(model_folder):
    assert run_settings(model_folder) is None
    with pytest.raises(ConfigError, match=r"there is no train_config\.json"):
        find_originals(model_folder)


def test_what_contradicts_or_names_nothing_is_refused(phantom_run, volumes, tmp_path):
    path = written(tmp_path, {"train": [str(volumes)]})
    with pytest.raises(ConfigError, match="names no validation volumes"):
        find_originals(phantom_run, config=path)
    with pytest.raises(ConfigError, match="INPUT and --config"):
        find_originals(phantom_run, [str(volumes)], path)
    with pytest.raises(NoInputError):
        find_originals(phantom_run, [str(tmp_path / "nowhere")])


def test_damaged_settings_are_one_error(tmp_path):
    (tmp_path / "train_config.json").write_text('{"model": 3}')
    with pytest.raises(ConfigError, match=r"train_config\.json: .*model"):
        find_originals(tmp_path)
