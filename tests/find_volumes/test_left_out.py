"""Whatever lies in a folder is taken as a case, or left out for a reason that is told."""

import zipfile
from pathlib import Path

import pytest

from ct_vae.find_volumes.cases import discover
from ct_vae.find_volumes.left_out import by_suffix, count_line, left_out_file, reported_lines
from ct_vae.io import write_latent, write_volume
from ct_vae.io.source_files import source_files
from ct_vae.io.walk import walk_files
from tests.io._samples import ct_volume, latent_of
from tests.io._series import make_series, save, write_series


@pytest.fixture
def tree(tmp_path):
    """A folder with something of every kind."""
    folder = tmp_path / "in"
    write_volume(ct_volume(), folder / "a.nii.gz")
    write_latent(latent_of(), folder / "a_latent.nii.gz")
    write_series(folder / "dicom", make_series())
    scout = make_series(1, seed=9)[0]
    scout.SeriesInstanceUID, scout.ImageType = "1.2.9", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, folder / "dicom" / "scout.dcm")
    (folder / "broken").mkdir()
    (folder / "broken" / "x.dcm").write_bytes((folder / "dicom" / "scout.dcm").read_bytes()[:400])
    for name in (
        "brain.mgz",
        "old.mnc",
        "sub/case.nii.xz",
        "array.npy",
        "notes.txt",
        "b.xml",
        "c.xml",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    write_volume(ct_volume(), folder / "luna" / "b.mha")
    header, _, voxels = (folder / "luna" / "b.mha").read_bytes().partition(b"LOCAL\n")
    (folder / "luna" / "b.mhd").write_bytes(header + b"b.zraw\n")
    (folder / "luna" / "b.zraw").write_bytes(voxels)
    (folder / "luna" / "b.mha").unlink()
    (folder / "luna" / "orphan.raw").write_bytes(b"x")
    (folder / "luna" / "orphan.img").write_bytes(b"x")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    return folder


def test_every_file_is_taken_or_left_out_once(tree):
    told = []
    found = discover([tree], report=told.append)
    taken = [file for case in found for file in source_files(case.path, case.series)]
    left = [file for each in found.left_out for file in each.files]
    assert sorted(taken + left) == sorted(walk_files(tree))
    assert [case.key for case in found][:2] == ["a", "luna/b"]
    kinds = {each.path.name: each.kind for each in found.left_out}
    assert kinds["brain.mgz"] == kinds["old.mnc"] == kinds["case.nii.xz"] == "unread"
    assert (kinds["array.npy"], kinds["more.zip"], kinds["dicom"]) == ("maybe", "archive", "series")
    assert (kinds["a_latent.nii.gz"], kinds["a_latent.json"]) == ("latent", "other")
    assert len(told) == 8
    assert f"{tree / 'brain.mgz'}: not read: a FreeSurfer volume; convert it to NIfTI" in told[2]


def test_what_is_left_out_is_counted_by_kind(tree):
    assert count_line(discover([tree]).left_out) == (
        "4 volumes in unsupported formats, 2 array files, 1 DICOM series, 1 archive, 1 latent, "
        "4 other files (2 .xml, 1 .json, 1 .txt)"
    )


def test_what_several_inputs_leave_out_is_reported_once(tree):
    told = []
    found = discover([tree, tree / "*", f"{tree}/../in"], report=told.append)
    assert len(told) == len(set(told))
    assert len([each for each in found.left_out if each.path.name == "brain.mgz"]) == 1


def test_only_what_must_have_been_meant_is_an_input(tree):
    assert sorted(each.path.name for each in discover([tree]).left_out if each.meant) == [
        "brain.mgz",
        "case.nii.xz",
        "old.mnc",
        "orphan.img",
    ]


def test_archives_are_searched_where_a_pattern_names_them(tree):
    found = discover([tree / "*"])
    assert [case.key for case in found if case.path.suffix == ".zip"] == ["more"]
    assert not [each for each in found.left_out if each.kind == "archive"]


def test_a_search_for_latents_leaves_the_rest(tree):
    found = discover([tree], latents=True)
    assert [case.path.name for case in found] == ["a_latent.nii.gz"]
    left = {file for each in found.left_out for file in each.files}
    rest = {path for path in walk_files(tree) if not path.name.startswith("a_latent")}
    assert left == rest


def test_a_name_decides_what_an_unread_file_is():
    assert left_out_file(Path("A.MGZ")).kind == "unread"
    assert left_out_file(Path("a.nii.bz2")).reason.startswith("not read: a compression")
    assert left_out_file(Path("readme")).kind == "other"
    assert list(reported_lines([left_out_file(Path("readme"))])) == []
    assert by_suffix([Path("a"), Path("b.X"), Path("c.x")]) == "2 .x, 1 no suffix"
