"""Headers whose voxels lie in a file beside them: `.mhd`, `.nhdr` and NIfTI pairs."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.sources.case import FileCase
from ct_vae.errors import CtVaeError, InputError
from ct_vae.find_volumes.cases import discover
from ct_vae.find_volumes.inventory import inspect
from ct_vae.find_volumes.items import find_items
from ct_vae.io import ReadOptions, read_volume
from ct_vae.io.data_file import data_file_path
from tests.io._itk_files import refusal, write_itk
from tests.io._samples import AFFINE, ct_voxels
from tests.io.nifti._pairs import write_pair

VOXELS = ct_voxels()
ITK = [("a.mhd", False), ("a.mhd", True), ("a.nhdr", False), ("a.nhdr", True)]


@pytest.mark.parametrize(("name", "compressed"), ITK)
def test_headers_that_itk_writes_are_read_with_the_file_next_to_them(tmp_path, name, compressed):
    data = write_itk(tmp_path / name, compressed)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert volume.grid.distance_mm(volume.grid) == 0
    np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-12)
    assert not volume.warnings
    assert FileCase("a", tmp_path / name).files == (tmp_path / name, data)


@pytest.mark.parametrize("kind", [*ITK, ("a.hdr", False), ("a.hdr", True)])
def test_every_truncation_of_the_data_file_is_refused_by_its_name(tmp_path, kind):
    name, compressed = kind
    path = tmp_path / name
    if name == "a.hdr":
        path, data = write_pair(tmp_path, image="a.img.gz" if compressed else "a.img")
    else:
        data = write_itk(path, compressed)
    content = data.read_bytes()
    for length in {*range(0, len(content), 41), *range(len(content) - 20, len(content))}:
        data.write_bytes(content[:length])
        assert f"its data file '{data.name}' is " in refusal(path)
    data.unlink()
    assert data.name[:2] in refusal(path)
    assert "is missing" in refusal(path)
    data.mkdir()
    assert "is a folder" in refusal(path)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
@pytest.mark.parametrize(
    "named",
    ["/etc/hostname", "../outside.raw", "sub/../../outside.raw", "link.raw", "linked/a.raw"],
)
def test_a_data_file_outside_the_folder_of_the_header_is_refused(tmp_path, name, named):
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    data = write_itk(folder / name)
    for place in (tmp_path / "outside.raw", outside / "a.raw"):
        shutil.copy(data, place)
    (folder / "link.raw").symlink_to(outside / "a.raw")
    (folder / "linked").symlink_to(outside)
    (folder / "sub").mkdir()
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace(data.name, named))
    assert "is outside the folder" in refusal(folder / name)
    assert FileCase("a", folder / name).files == (folder / name,)


def test_the_image_of_a_pair_that_links_elsewhere_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    header, image = write_pair(tmp_path / "in")
    image.rename(tmp_path / "a.img")
    image.symlink_to(tmp_path / "a.img")
    assert "is outside the folder" in refusal(header)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
@pytest.mark.parametrize("named", ["sub/b.raw", "my scan.raw", "Köln.raw", "link.raw"])
def test_names_within_the_folder_are_followed(tmp_path, name, named):
    data = write_itk(tmp_path / name)
    (tmp_path / "sub").mkdir()
    shutil.copy(data, tmp_path / "sub" / "target.raw")
    if named == "link.raw":
        (tmp_path / named).symlink_to("sub/target.raw")
    else:
        shutil.copy(data, tmp_path / named)
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace(data.name, named))
    data.unlink()
    np.testing.assert_array_equal(read_volume(tmp_path / name).voxels, VOXELS)


def test_a_header_that_names_itself_is_refused(tmp_path):
    (tmp_path / "a.nhdr").write_text("")
    with pytest.raises(InputError, match="names itself"):
        data_file_path(tmp_path / "a.nhdr", "a.nhdr")


@pytest.mark.parametrize("skip", [0, 7, -1])
@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_bytes_before_the_voxels_are_skipped_as_the_header_says(tmp_path, name, skip):
    data = write_itk(tmp_path / name)
    content = data.read_bytes()
    data.write_bytes(b"\xff" * (9 if skip < 0 else skip) + content)
    line = (
        f"HeaderSize = {skip}\nElementDataFile"
        if name == "a.mhd"
        else f"byte skip: {skip}\ndata file"
    )
    word = "ElementDataFile" if name == "a.mhd" else "data file"
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(word, line))
    np.testing.assert_array_equal(read_volume(tmp_path / name).voxels, VOXELS)


@pytest.mark.parametrize(
    ("name", "named"), [("a.mhd", "LIST"), ("a.mhd", "a%03d.raw 1 8 1"), ("a.nhdr", "LIST 2")]
)
def test_voxels_in_many_files_are_refused(tmp_path, name, named):
    data = write_itk(tmp_path / name)
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(data.name, named))
    assert "several files" in refusal(tmp_path / name)


def test_a_search_takes_headers_as_cases_and_their_data_files_for_part_of_them(tmp_path):
    for name in ("luna.mhd", "slicer.nhdr"):
        (tmp_path / name).mkdir()
        write_itk(tmp_path / name / name)
    (tmp_path / "pair").mkdir()
    write_pair(tmp_path / "pair")
    (tmp_path / "note.txt").write_text("no volume")
    assert [case.key for case in discover([tmp_path])] == [
        "luna.mhd/luna",
        "pair/a",
        "slicer.nhdr/slicer",
    ]
    found = find_items([tmp_path], ReadOptions())
    rows = [row for item in found.items for row in inspect(item, ReadOptions())]
    assert [(row.verdict, row.kind) for row in rows] == [
        ("ok", "metaimage"),
        ("ok", "nifti"),
        ("ok", "nrrd"),
    ]
    assert found.other_files == 1


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr"])
@given(changes=st.data())
def test_damaged_headers_next_to_a_secret_give_the_voxels_or_an_error(
    tmp_path_factory, name, changes
):
    folder = tmp_path_factory.mktemp("damage")
    if name == "a.hdr":
        path, _ = write_pair(folder)
    else:
        path = folder / name
        write_itk(path)
    content = bytearray(path.read_bytes())
    for _ in range(changes.draw(st.integers(1, 3))):
        start = changes.draw(st.integers(0, len(content)))
        stop = changes.draw(st.integers(start, min(len(content), start + 10)))
        content[start:stop] = changes.draw(st.binary(max_size=6))
    path.write_bytes(content)
    try:
        volume = read_volume(path, ReadOptions(force=True))
    except CtVaeError:
        return
    assert volume.voxels.nbytes <= 2 * 8 * VOXELS.nbytes


def test_trees_of_links_to_an_archive_are_read(tmp_path):
    store, tree, other = (tmp_path / name for name in ("store", "tree", "other"))
    for folder in (store, tree, other):
        folder.mkdir()
    data = write_itk(store / "a.mhd")
    write_pair(store)
    for name in ("a.mhd", "a.hdr"):
        (tree / name).symlink_to(store / name)
        # The voxels are beside the header to which the link leads.
        np.testing.assert_array_equal(read_volume(tree / name).voxels, VOXELS)
    # As annexes and caches of data do, each file in a folder of its own.
    data.rename(other / "key")
    (tree / data.name).symlink_to(other / "key")
    np.testing.assert_array_equal(read_volume(tree / "a.mhd").voxels, VOXELS)
    (tree / data.name).unlink()
    assert "is missing" in refusal(tree / "a.mhd")
