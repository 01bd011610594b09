from pathlib import Path

import pytest

from ct_vae.batch.verify import Verdict, VerifyItem, find_items, verify_item
from ct_vae.errors import InputError
from ct_vae.io import write_latent, write_volume
from tests.io._samples import ct_volume, latent_of
from tests.io._series import make_series, write_series


@pytest.fixture
def tree(tmp_path):
    """A volume, a latent, a DICOM series, a volume that is not read, and a text."""
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    write_latent(latent_of(), tmp_path / "b_latent.nii.gz")
    write_series(tmp_path / "series", make_series())
    (tmp_path / "c.mnc").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def states(*paths):
    return {(v.kind, v.status) for v in map(verify_item, find_items(paths))}


def test_each_item_of_a_folder_is_checked_by_its_kind(tree):
    assert states(tree) == {
        ("volume", "ok"),
        ("latent", "ok"),
        ("series", "ok"),
        ("volume", "skipped"),
    }
    assert len(find_items([tree])) == 4


def test_files_of_one_item_are_one_item(tree):
    latent = [tree / "b_latent.nii.gz", tree / "b_latent.json"]
    slices = sorted((tree / "series").iterdir())
    assert [item.kind for item in find_items([*latent, *slices, *latent])] == ["latent", "series"]


def test_errors_of_a_search_are_failed_items(tmp_path):
    (tmp_path / "empty").mkdir()
    found = [verify_item(item) for item in find_items([tmp_path / "empty", tmp_path / "absent"])]
    assert [(v.status, v.exit_code) for v in found] == [("failed", 3), ("failed", 3)]


def test_a_problem_is_reported_once_with_its_path():
    item = VerifyItem(Path("a.nii"), "volume", problem=InputError("a.nii: cut", "copy it again"))
    assert verify_item(item).line() == "failed: a.nii: cut; copy it again"
    assert Verdict("a.nii", "volume", "failed", "cut").line() == "failed: a.nii: cut"
    assert Verdict("a.nii", "volume", "ok", "good").line() == "ok: a.nii: good"
    assert verify_item(VerifyItem(Path("a"), "volume", skip="a MINC volume")).status == "skipped"
