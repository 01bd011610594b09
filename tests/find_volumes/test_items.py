import os
import shutil
from pathlib import Path

import pytest

from ct_vae.errors import NoInputError
from ct_vae.find_volumes.items import find_items, series_paths
from ct_vae.io import read_volume, write_volume
from ct_vae.io.dicom.scan import scan_series
from tests.io._samples import ct_volume
from tests.io._series import enhanced, make_series, save, write_series


def listed(*paths, **options):
    """Kind and path of each item, and its path below what was searched."""
    return [(i.kind, str(i.path), i.below.as_posix()) for i in find_items(paths, **options).items]


def second_series(seed=1):
    slices = make_series(seed=seed)
    for each in slices:
        each.SeriesInstanceUID, each.SeriesNumber = f"1.2.9.{seed}", 7
    return slices


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_tree_gives_all_that_may_be_a_volume_in_order(here):
    touch(here, "in/b.nii.gz", "in/c/A.MHA", "in/c/d.nrrd", "in/notes.txt", "in/.hidden.nii")
    write_series(here / "in" / "a", make_series())
    shutil.make_archive("in/e", "zip", "in/a")
    found = find_items(["in"])
    assert [(i.kind, str(i.path), i.below.as_posix()) for i in found.items] == [
        ("series", "in/a", "a/series"),
        ("file", "in/b.nii.gz", "b.nii.gz"),
        ("file", "in/c/A.MHA", "c/A.MHA"),
        ("file", "in/c/d.nrrd", "c/d.nrrd"),
        ("archive", "in/e.zip", "e.zip"),
    ]
    assert found.other_files == 1


def test_a_file_is_taken_as_named(here):
    touch(here, "in/a.nii", "in/scan.img", "in/no.zip")
    assert listed("in/a.nii", "in/scan.img", "in/no.zip") == [
        ("file", "in/a.nii", "a.nii"),
        ("file", "in/scan.img", "scan.img"),
        ("file", "in/no.zip", "no.zip"),
    ]


def test_an_archive_is_one_whatever_its_name(here):
    write_series(here / "s", make_series())
    archive = shutil.make_archive("s", "gztar", "s")
    Path(archive).rename("s.nii.gz")
    assert listed("s.nii.gz") == [("archive", "s.nii.gz", "s.nii.gz")]


def test_whatever_is_named_twice_is_there_once(here):
    touch(here, "in/a.nii", "in/b/c.nii")
    folder = write_series(here / "in" / "s", make_series())
    (here / "link").symlink_to("in")
    (series,) = scan_series(folder)
    once = listed("in")
    again = ["in", here / "in", "in/a.nii", "in/b/../a.nii", "link", "in/s", series.path]
    again += sorted(folder.iterdir())
    assert listed(*again) == once


def test_a_link_to_a_file_is_a_file_of_its_own(here):
    touch(here, "in/a.nii")
    (here / "in" / "b.nii").symlink_to("a.nii")
    (here / "in" / "c.nii").symlink_to("nowhere")
    assert [path for _, path, _ in listed("in")] == ["in/a.nii", "in/b.nii", "in/c.nii"]


def test_series_of_one_folder_are_named_by_id(here):
    write_series(here / "in" / "s", make_series())
    write_series(here / "in" / "s", second_series(), lambda k: f"other{k}")
    paths = [Path(path) for _, path, _ in listed("in")]
    assert [path.parent.as_posix() for path in paths] == ["in/s", "in/s"]
    assert [path.name[:6] for path in paths] == ["#s003_", "#s007_"]
    read = [read_volume(path) for path in paths]
    assert (read[0].voxels != read[1].voxels).any()
    assert listed(paths[1]) == [("series", str(paths[1]), "series")]


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ("in/a", "in/b", ["in/a", "in/b"]),
        ("in", "in/b", ["in/#s003", "in/b"]),
        ("in/a", "in/a/b", ["in/a/#s003", "in/a/b"]),
    ],
)
def test_a_folder_names_a_series_only_if_it_holds_no_other(here, first, second, named):
    write_series(here / first, make_series())
    write_series(here / second, second_series(), lambda k: f"other{k}")
    assert [path.split("_")[0] for _, path, _ in listed("in")] == named
    for _, path, _ in listed("in"):
        assert read_volume(path).grid.shape == (10, 12, 8)


def test_the_folder_of_a_part_does_not_name_what_is_spread_further(here):
    spread = make_series()
    for k, each in enumerate(spread):
        save(each, here / "in" / ("a" if k < 4 else "b") / f"{k}")
    write_series(here / "in" / "b", second_series(), lambda k: f"other{k}")
    assert [path.split("_")[0] for _, path, _ in listed("in")] == ["in/#s003", "in/b/#s007"]


def test_what_is_skipped_does_not_interfere(here):
    write_series(here / "in", make_series())
    localizer = make_series(1, seed=4)[0]
    localizer.SeriesInstanceUID, localizer.ImageType = "1.2.9", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(localizer, here / "in" / "scout")
    series = scan_series("in")
    named = dict(zip((each.verdict for each in series), series_paths(series), strict=True))
    assert named["ok"] == Path("in")
    assert named["skipped"].name.startswith("#s003_")


def test_a_dicom_file_represents_its_series(here):
    write_series(here / "in", make_series())
    write_series(here / "in", second_series(), lambda k: f"other{k}")
    touch(here, "in/a.nii")
    (name,) = [path for _, path, _ in listed("in/other3")]
    assert "#s007_" in name
    assert len(listed("in/other3", "in/other4", *Path("in").glob("0*"))) == 2
    assert find_items(["in/other3"]).other_files == 0


def test_a_damaged_dicom_file_is_not_lost(here):
    write_series(here / "in", make_series())
    touch(here, "in/broken.dcm")
    (item,) = [i for i in find_items(["in/broken.dcm"]).items if "unreadable" in i.series.id]
    assert "broken.dcm" in item.series.reason


def test_an_enhanced_image_is_a_series(here):
    save(enhanced(), here / "in" / "one.dcm")
    assert listed("in/one.dcm") == listed("in") == [("series", "in", "series")]


def test_a_series_in_an_archive_can_be_asked_for(here):
    write_series(here / "s", make_series())
    shutil.make_archive("s", "zip", "s")
    (item,) = find_items(["s.zip/#s003_ab12cd34"]).items
    assert (item.kind, item.path, item.wanted) == ("archive", Path("s.zip"), "s003_ab12cd34")


@pytest.mark.parametrize("path", ["missing", "in/missing.nii", "in/#s001_00000000", "n" * 300])
def test_what_does_not_exist_is_reported_before_anything_is_searched(here, path):
    touch(here, "in/a.nii")
    looked = []
    with pytest.raises(NoInputError, match="there is no such"):
        find_items([path, "in"], report=looked.append)


def test_looking_into_files_is_reported(here):
    write_series(here / "in", make_series())
    touch(here, "in/a.nii", "in/b.txt")
    looked = []
    find_items(["in"], report=looked.append)
    assert looked == list(range(1, 10))


def lock(monkeypatch, *names):
    """Make folders of these names impossible to list, also for the administrator."""
    real = os.scandir

    def scandir(path):
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_locked_folder_does_not_hide_the_others(here, monkeypatch):
    touch(here, "in/a/x.nii", "in/locked/y.nii", "in/m/shut/w.nii", "in/z/v.nii")
    lock(monkeypatch, "locked", "shut")
    items = find_items(["in"]).items
    assert [(i.kind, str(i.path)) for i in items] == [
        ("file", "in/a/x.nii"),
        ("folder", "in/locked"),
        ("folder", "in/m/shut"),
        ("file", "in/z/v.nii"),
    ]
    assert items[1].problem == "cannot be searched: Permission denied"


def test_a_locked_folder_that_was_named_is_refused(here, monkeypatch):
    touch(here, "locked/y.nii")
    lock(monkeypatch, "locked")
    with pytest.raises(NoInputError, match=r"locked: cannot be searched: Permission denied"):
        find_items(["locked"])


def test_circles_of_links_end(here):
    touch(here, "in/a/x.nii")
    (here / "in" / "a" / "up").symlink_to("..")
    write_volume(ct_volume(), here / "in" / "b.nii")
    assert [path for _, path, _ in listed("in")] == ["in/a/x.nii", "in/b.nii"]
