"""Headers whose voxels lie in a file beside them, against SimpleITK."""

import gzip
import os
import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io import ReadOptions, read_volume
from tests.io._samples import ct_voxels
from tests.io.mha_nrrd.test_reader import itk_image, itk_voxels

FORCE = ReadOptions(force=True)
VOXELS = ct_voxels()
RAW = VOXELS.tobytes(order="F")


def write_pair(folder, suffix="mhd", compressed=False, name="a"):
    """As SimpleITK writes it; gives the header and the file with the voxels."""
    folder.mkdir(exist_ok=True)
    header = folder / f"{name}.{suffix}"
    SimpleITK.WriteImage(itk_image(VOXELS), str(header), compressed)
    endings = [".raw", ".zraw", ".raw.gz"]
    ending = endings[compressed * (1 + (suffix == "nhdr"))]
    return header, folder / f"{name}{ending}"


def changed(header, old, new):
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))


@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_sizes_are_checked_to_the_byte(tmp_path, suffix, compressed):
    header, data = write_pair(tmp_path, suffix, compressed)
    content = data.read_bytes()
    for wrong in (b"", content[:-1], content[: len(content) // 2], content + b"x", b"x" + content):
        data.write_bytes(wrong)
        with pytest.raises(InputError):
            read_volume(header)
    data.unlink()
    with pytest.raises(InputError, match="is missing"):
        read_volume(header)


@pytest.mark.parametrize("kind", ["int64", "uint64"])
@pytest.mark.parametrize("suffix", ["mhd", "nhdr", "mha", "nrrd"])
def test_64_bit_integers_that_fit_are_read(tmp_path, suffix, kind):
    voxels = np.abs(VOXELS).astype(kind)
    path = tmp_path / f"a.{suffix}"
    SimpleITK.WriteImage(itk_image(voxels), str(path))
    volume = read_volume(path, FORCE)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype == np.int16
    voxels[0, 0, 0] = 2**60
    SimpleITK.WriteImage(itk_image(voxels), str(path))
    with pytest.raises(InputError, match="64-bit integers from 2 to 1152921504606846976"):
        read_volume(path, FORCE)


@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
@pytest.mark.parametrize(
    "name",
    ["../a.raw", "/etc/passwd", "sub/../../a.raw", "C:\\a.raw", "..\\a.raw", "file:///a.raw", "."],
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, suffix, name):
    header, data = write_pair(tmp_path / "in", suffix)
    (tmp_path / "a.raw").write_bytes(RAW)
    changed(header, data.name, name)
    with pytest.raises(InputError, match=r"is outside the folder|is missing|is a folder"):
        read_volume(header)


def test_links_out_of_the_folder_are_refused_and_trees_of_links_read(tmp_path):
    header, data = write_pair(tmp_path / "store")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.mhd").symlink_to(header)
    # The data are beside the header to which the link leads.
    np.testing.assert_array_equal(read_volume(tree / "a.mhd").voxels, VOXELS)
    # As annexes and caches of data do, each file in a folder of its own.
    (tmp_path / "other").mkdir()
    data.rename(tmp_path / "other" / "key")
    (tree / "a.raw").symlink_to(tmp_path / "other" / "key")
    np.testing.assert_array_equal(read_volume(tree / "a.mhd").voxels, VOXELS)
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "a.mhd").write_bytes(header.read_bytes())
    (planted / "a.raw").symlink_to(tmp_path / "other" / "key")
    with pytest.raises(InputError, match="is outside the folder"):
        read_volume(planted / "a.mhd")
    (planted / "a.raw").unlink()
    (planted / "b.raw").write_bytes(RAW)
    (planted / "a.raw").symlink_to("b.raw")
    np.testing.assert_array_equal(read_volume(planted / "a.mhd").voxels, VOXELS)


def test_what_is_no_regular_file_is_never_opened(tmp_path):
    header, data = write_pair(tmp_path)
    data.unlink()
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("a.raw")):
        make(data)
        with pytest.raises(InputError, match=r"data file 'a\.raw'"):
            read_volume(header)
        data.rmdir() if data.is_dir() else data.unlink()


@pytest.mark.parametrize("packed", [False, True])
def test_lines_and_bytes_before_the_voxels_of_an_nrrd_are_skipped(tmp_path, packed):
    header, data = write_pair(tmp_path, "nhdr")
    inner = b"12345" + RAW
    data.write_bytes(b"a line\nanother\n" + (gzip.compress(inner) if packed else inner))
    skip = "line skip: 2\nbyte skip: 5\ndata file"
    changed(header, "data file", skip)
    if packed:
        changed(header, "encoding: raw", "encoding: gzip")
    np.testing.assert_array_equal(read_volume(header).voxels, VOXELS)
    if not packed:
        np.testing.assert_array_equal(itk_voxels(SimpleITK.ReadImage(str(header))), VOXELS)
        changed(header, "line skip: 2\nbyte skip: 5", "byte skip: -1")
        np.testing.assert_array_equal(read_volume(header).voxels, VOXELS)


def test_a_detached_header_may_end_without_an_empty_line(tmp_path):
    header, _ = write_pair(tmp_path, "nhdr")
    header.write_bytes(header.read_bytes().rstrip() + b"\n")
    np.testing.assert_array_equal(read_volume(header).voxels, VOXELS)
    header, _ = write_pair(tmp_path, "mhd", name="b")
    header.write_bytes(header.read_bytes().rstrip())
    np.testing.assert_array_equal(read_volume(header).voxels, VOXELS)


def test_what_a_header_leaves_open_is_reported(tmp_path):
    header, _ = write_pair(tmp_path)
    lines = header.read_text().splitlines(keepends=True)
    header.write_text("".join(line for line in lines if not line.startswith("TransformMatrix")))
    assert read_volume(header).warnings == (
        "no directions in the header: axes assumed to run L, P, S",
    )
    header.write_text("".join(line for line in lines if not line.startswith("ElementSpacing")))
    assert read_volume(header).warnings == ("no voxel sizes in the header: 1 mm assumed",)


def test_flipped_bits_of_compressed_voxels_never_give_others(tmp_path):
    for suffix in ("mhd", "nhdr"):
        header, data = write_pair(tmp_path, suffix, compressed=True)
        content = data.read_bytes()
        for position in range(0, 8 * len(content), 13):
            wrong = bytearray(content)
            wrong[position // 8] ^= 1 << position % 8
            data.write_bytes(wrong)
            try:
                volume = read_volume(header, FORCE)
            except CtVaeError:
                continue
            np.testing.assert_array_equal(volume.voxels, VOXELS)


@given(data=st.data())
def test_any_header_gives_the_volume_of_itk_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "mutated"
    suffix = data.draw(st.sampled_from(["mhd", "nhdr"]))
    header, _ = write_pair(folder, suffix)
    content = bytearray(header.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 12)))
        content[start:stop] = data.draw(st.binary(max_size=6))
    header.write_bytes(content)
    try:
        volume = read_volume(header, ReadOptions(force=True, assume_ras=True))
    except CtVaeError:
        return
    oracle = SimpleITK.ReadImage(str(header))
    np.testing.assert_array_equal(volume.voxels, itk_voxels(oracle).astype(volume.voxels.dtype))


def test_data_that_pretend_to_be_huge_allocate_nothing(tmp_path):
    header, data = write_pair(tmp_path, compressed=True)
    changed(header, "DimSize = 6 7 8", "DimSize = 1200 1200 1200")
    changed(header, f"CompressedDataSize = {data.stat().st_size}", "CompressedDataSize = 100")
    data.write_bytes(zlib.compress(bytes(100_000))[:100])
    with pytest.raises(InputError, match="decompress to at most"):
        read_volume(header)
