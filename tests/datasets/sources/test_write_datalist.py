import json
import os
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist
from monai.data.decathlon_datalist import check_missing_files

from ct_vae.config.data import DataConfig
from ct_vae.datasets.sources.patient_split import Shares
from ct_vae.datasets.sources.split import build_split
from ct_vae.datasets.sources.write_datalist import Entry, check_target, path_from, write_datalist
from ct_vae.errors import ConfigError, OutputError
from ct_vae.io import ReadOptions, read_volume, write_volume
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.io._series import make_series, write_series

SHARES = Shares(0.2, 0.1, 3)


@pytest.fixture
def entries(tmp_path):
    """A volume for each list, two of one patient."""
    lists = ["training", "training", "validation", "test"]
    for k in range(4):
        write_volume(ct_volume(seed=k), tmp_path / "in" / f"{k}.nii.gz")
    numbers = [1, 1, 2, 3]
    return [Entry(str(tmp_path / "in" / f"{k}.nii.gz"), lists[k], numbers[k]) for k in range(4)]


def written(path, entries, options=None):
    write_datalist(path, entries, SHARES, options or ReadOptions())
    return json.loads(path.read_text())


def test_monai_reads_every_list(tmp_path, entries):
    path = tmp_path / "lists" / "ct.json"
    tree = written(path, entries)
    for name, count in (("training", 2), ("validation", 1), ("test", 1)):
        items = load_decathlon_datalist(path, True, name)
        assert not check_missing_files(items, "image")
        assert [Path(i["image"]) for i in items] == [
            Path(e.path) for e in entries if e.list_name == name
        ]
        assert [i["patient"] for i in items] == [e.patient for e in entries if e.list_name == name]
        assert tree[f"num{name.capitalize()}"] == count if name != "training" else 2
    assert tree["numTraining"] == 2
    assert tree["modality"] == {"0": "CT"}
    assert tree["name"] == "ct"
    assert "3 patients" in tree["description"]
    assert_only_files(tmp_path / "lists", {"ct.json"})


def test_training_reads_it_and_patients_that_name_files_do_no_harm(tmp_path, entries):
    path = tmp_path / "in" / "ct.json"
    for name in ("1", "2", "3"):
        (tmp_path / "in" / name).touch()
    assert written(path, entries)["training"][0] == {"image": "0.nii.gz", "patient": 1}
    items = load_decathlon_datalist(path, True, "validation")
    assert items == [{"image": str(tmp_path / "in" / "2.nii.gz"), "patient": 2}]
    split = build_split(DataConfig(datalist=str(path)))
    assert [len(split.train), len(split.val)] == [2, 1]
    assert split.val[0].load().grid == ct_volume().grid


def test_empty_lists_are_left_out_but_for_training(tmp_path, entries):
    tree = written(tmp_path / "a.json", entries[:2])
    assert "validation" not in tree
    assert "test" not in tree
    assert (tree["numValidation"], tree["numTest"]) == (0, 0)
    assert written(tmp_path / "b.json", entries[3:])["training"] == []


def test_consents_are_noted(tmp_path, entries):
    assert "read_options" not in written(tmp_path / "a.json", entries)
    options = ReadOptions(hu_offset=-1024.0, force=True)
    found = written(tmp_path / "b.json", entries, options)["read_options"]
    assert found == {"hu_offset": -1024.0, "force": True}
    assert ReadOptions(**found) == options


def test_the_same_cases_give_the_same_bytes(tmp_path, entries):
    written(tmp_path / "x" / "a.json", entries)
    written(tmp_path / "y" / "a.json", entries)
    assert (tmp_path / "x" / "a.json").read_bytes() == (tmp_path / "y" / "a.json").read_bytes()


@pytest.mark.parametrize(
    ("folder", "path", "expected"),
    [
        ("lists", "in/a.nii", "../in/a.nii"),
        (".", "in/a.nii", "in/a.nii"),
        ("in", "in/a.nii", "a.nii"),
        ("new/er", "in/a.nii", "../../in/a.nii"),
        ("in", "in/s/#s003_ab12cd34", "s/#s003_ab12cd34"),
        ("lists", "a.zip/#s003_ab12cd34", "../a.zip/#s003_ab12cd34"),
        ("lists", "in/ü \udcff.nii", "../in/ü \udcff.nii"),
    ],
)
def test_paths_are_relative_to_the_folder_of_the_list(
    tmp_path, monkeypatch, folder, path, expected
):
    monkeypatch.chdir(tmp_path)
    for name in ("lists", "in/s"):
        Path(name).mkdir(parents=True)
    Path("a.zip").touch()
    assert path_from(Path(folder), path) == expected
    assert path_from(tmp_path / folder, str(tmp_path / path)) == expected


def test_a_link_never_leads_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("real/deep").mkdir(parents=True)
    Path("in").mkdir()
    Path("link").symlink_to("real/deep")
    Path("in/a.nii").touch()
    Path("real/deep/b.nii").touch()
    outside = path_from(Path("link"), "in/a.nii")
    assert outside == str(tmp_path / "in" / "a.nii")
    inside = path_from(Path("link"), "link/b.nii")
    assert inside == "b.nii"
    for name, path in ((outside, "in/a.nii"), (inside, "link/b.nii")):
        assert (Path("link") / name).samefile(path)
        assert Path(os.path.normpath(Path("link") / name)).samefile(path)


def test_a_series_in_a_list_is_read(tmp_path):
    folder = write_series(tmp_path / "in" / "s", make_series())
    tree = written(tmp_path / "lists" / "a.json", [Entry(str(folder), "training", 1)])
    place = tmp_path / "lists" / tree["training"][0]["image"]
    assert read_volume(place).grid == read_volume(folder).grid


def test_targets_are_checked_before_any_work(tmp_path):
    check_target(tmp_path / "new.json", False)
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "nowhere.json").symlink_to("gone")
    check_target(tmp_path / "old.json", True)
    for name, overwrite, reason in (
        ("old.json", False, "--overwrite"),
        ("nowhere.json", False, "--overwrite"),
        ("folder.json", True, "give a .json file"),
        ("list.txt", True, "give a .json file"),
        ("a.nii.gz", True, "give a .json file"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check_target(tmp_path / name, overwrite)


def test_what_cannot_be_written_is_reported_and_leaves_nothing(tmp_path, entries):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        written(tmp_path / "file" / "a.json", entries)
