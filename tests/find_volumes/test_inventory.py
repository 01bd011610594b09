import shutil
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ct_vae.find_volumes import inventory as module
from ct_vae.find_volumes.inventory import hu_percentiles, inspect
from ct_vae.find_volumes.items import find_items
from ct_vae.grid import Grid
from ct_vae.io import ReadOptions, read_volume, volume_sha256, write_latent, write_volume
from ct_vae.io.dicom.reader import DECODED
from ct_vae.volume import DERIVED_MARK, Volume
from tests.io._samples import ct_volume, latent_of
from tests.io._series import (
    MARK,
    UID_MARK,
    assert_nothing_identifying,
    make_series,
    save,
    write_series,
)


def stock(*paths, options=None):
    options = options or ReadOptions()
    return [row for item in find_items(paths).items for row in inspect(item, options)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def not_hu():
    """An 8-bit picture of a head, as it is often taken for CT."""
    rng = np.random.default_rng(0)
    return Volume(rng.integers(0, 255, (6, 7, 8)).astype(np.int16), Grid((6, 7, 8), np.eye(4)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.nii", "nifti"), ("a.nii.gz", "nifti"), ("a.mha", "metaimage"), ("a.nrrd", "nrrd")],
)
def test_a_good_file_is_reported_as_it_is_read(here, name, kind):
    write_volume(ct_volume(), here / name)
    (row,) = stock(name)
    volume = read_volume(name)
    assert (row.path, row.kind, row.verdict, row.reason, row.modality) == (
        name,
        kind,
        "ok",
        "",
        None,
    )
    assert row.size == volume.grid.shape
    assert row.spacing_mm == volume.grid.spacing_mm
    assert row.hu == tuple(np.percentile(volume.voxels, (1, 50, 99), method="inverted_cdf"))
    assert row.content == volume_sha256(volume)
    assert row.patient


def test_a_good_series_is_reported_as_it_is_read(here):
    folder = write_series(here / "in" / "s", make_series())
    (row,) = stock("in")
    volume = read_volume(folder)
    assert (row.path, row.kind, row.modality, row.verdict) == ("in/s", "dicom", "CT", "ok")
    assert (row.size, row.spacing_mm) == (volume.grid.shape, volume.grid.spacing_mm)
    assert row.content == volume_sha256(read_volume(row.path))


def test_remarks_are_kept_and_padding_does_not_count(here):
    volume = ct_volume(dtype=np.int16)
    voxels = volume.voxels.copy()
    voxels[:2] = -2000
    write_volume(Volume(voxels, volume.grid), here / "a.nii")
    (row,) = stock("a.nii")
    assert any("padding" in line for line in row.warnings)
    assert row.hu == tuple(np.percentile(voxels[2:], (1, 50, 99), method="inverted_cdf"))


def test_a_refused_file_still_shows_its_size_and_values(here):
    write_volume(not_hu(), here / "a.nii.gz")
    (row,) = stock("a.nii.gz")
    assert row.verdict == "refused"
    assert row.reason.startswith("is not in HU")
    assert "--force" in row.reason
    assert (row.size, row.spacing_mm) == ((6, 7, 8), (1, 1, 1))
    assert row.hu is not None
    assert row.hu[0] >= 0
    assert (row.content, row.patient, row.warnings) == ("", "", ())


def test_options_of_reading_apply(here):
    write_volume(not_hu(), here / "a.nii.gz")
    assert [r.verdict for r in stock("a.nii.gz", options=ReadOptions(force=True))] == ["ok"]
    slices = make_series()
    for each in slices:
        del each.RescaleSlope, each.RescaleIntercept
    write_series(here / "raw", slices)
    write_series(here / "gap", [s for k, s in enumerate(make_series()) if k != 3])
    options = ReadOptions(resample_irregular=True, assume_hu=True, force=True)
    for name, size in (("raw", (10, 12, 8)), ("gap", (10, 12, 8))):
        (refused,) = stock(name)
        assert refused.verdict == "refused"
        items = find_items([name], options).items
        (row,) = inspect(items[0], options)
        assert (row.verdict, row.size) == ("ok", size)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x5c\x01\x00\x00" + bytes(100), "truncated"),
    ],
)
def test_a_damaged_file_is_one_line_without_its_name(here, content, reason):
    (here / "a.nii").write_bytes(content)
    (row,) = stock("a.nii")
    assert (row.kind, row.verdict) == ("nifti", "refused")
    assert reason in row.reason
    assert "a.nii" not in row.reason
    assert (row.size, row.hu) == (None, None)


def test_refused_and_skipped_series_are_reported_with_their_reason(here):
    slices = make_series()
    write_series(here / "gap", slices[:3] + slices[4:])
    write_series(here / "few", make_series(3))
    mr = make_series()
    for each in mr:
        each.Modality, each.SeriesInstanceUID = "MR", "1.2.3"
    write_series(here / "mr", mr)
    few, gap, other = [stock(name)[0] for name in ("few", "gap", "mr")]
    assert (gap.verdict, gap.size, gap.path) == ("refused", (10, 12, 7), "gap")
    assert "a slice is missing" in gap.reason
    assert "--resample-irregular" in gap.reason
    assert (few.verdict, few.reason) == (
        "skipped",
        "only 3 slices, a volume has at least 4; it is read if its path is given",
    )
    assert (other.verdict, other.modality) == ("skipped", "MR")


def test_a_series_whose_pixels_are_refused_is_reported_without_its_name(here):
    slices = make_series()
    for each in slices:
        each.RescaleIntercept = 0
    write_series(here / "shifted", slices)
    (row,) = stock("shifted")
    assert (row.verdict, row.size) == ("refused", (10, 12, 8))
    assert row.reason.startswith("seems to be HU + 1024")
    assert row.hu is not None


def test_latents_and_decoded_volumes_are_skipped(here):
    write_latent(latent_of(), here / "in" / "a_latent.nii.gz")
    write_latent(latent_of(), here / "in" / "b_emb.nii.gz", layout="maisi")
    write_volume(replace(ct_volume(), derived=True), here / "in" / "c_decoded.nii.gz")
    derived = make_series()
    for each in derived:
        each.DerivationDescription = DERIVED_MARK
    write_series(here / "in" / "d_decoded", derived)
    rows = stock("in")
    assert {row.verdict for row in rows} == {"skipped"}
    assert [(row.kind, row.reason) for row in rows] == [
        ("latent", "a latent of this package"),
        ("latent", "a latent of this package"),
        ("nifti", DECODED),
        ("dicom", DECODED),
    ]


def test_an_archive_gives_a_row_for_each_series(here):
    folder = write_series(here / "s", make_series())
    shutil.make_archive("one", "zip", "s")
    (row,) = stock("one.zip")
    assert (row.path, row.kind, row.verdict) == ("one.zip", "dicom", "ok")
    assert row.content == volume_sha256(read_volume(folder)) == volume_sha256(read_volume(row.path))
    assert row.patient == stock("s")[0].patient
    second = make_series(seed=1)
    for each in second:
        each.SeriesInstanceUID = "1.2.9"
        each.RescaleIntercept = 0
    write_series(folder, second, lambda k: f"other{k}")
    shutil.make_archive("two", "gztar", "s")
    rows = stock("two.tar.gz")
    assert sorted(row.verdict for row in rows) == ["ok", "refused"]
    for row in rows:
        assert row.path.startswith("two.tar.gz/#s003_")
        assert "two.tar.gz" not in row.reason
        if row.verdict == "ok":
            assert volume_sha256(read_volume(row.path)) == row.content
        assert stock(row.path) == [row]


def test_an_archive_without_use_is_one_row(here):
    with zipfile.ZipFile("code.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../a.txt", "x")
    (here / "cut.zip").write_bytes(Path("code.zip").read_bytes()[:-30])
    (here / "no.zip").write_bytes(b"<html>404</html>")
    rows = stock("code.zip", "evil.zip", "cut.zip", "no.zip")
    assert [(row.kind, row.verdict) for row in rows] == [
        ("archive", "skipped"),
        ("archive", "refused"),
        ("archive", "refused"),
        ("unknown", "refused"),
    ]
    for row, reason in zip(
        rows, ("without DICOM", "leads out", "damaged", "web page"), strict=True
    ):
        assert reason in row.reason
        assert row.path not in row.reason
    write_series(here / "s", make_series())
    shutil.make_archive("s", "zip", "s")
    (row,) = stock("s.zip/#s003_00000000")
    assert (row.verdict, row.reason) == ("refused", "there is no series s003_00000000")


def test_a_locked_folder_is_a_refused_row(here):
    (here / "in").mkdir()
    write_volume(ct_volume(), here / "in" / "a.nii")
    (item,) = find_items(["in"]).items
    locked = replace(item, kind="folder", problem="cannot be searched: Permission denied")
    (row,) = inspect(locked, ReadOptions())
    assert (row.kind, row.verdict, row.reason) == ("folder", "refused", locked.problem)


def test_nothing_identifying_is_reported(here):
    write_series(here / "in" / "ok", make_series())
    write_series(here / "in" / "gap", [s for k, s in enumerate(make_series(seed=2)) if k != 3])
    save(make_series(1)[0], here / "in" / "single" / "0")
    shutil.make_archive("s", "zip", "in")
    for row in (*stock("in"), *stock("s.zip"), *stock("in/ok")):
        assert_nothing_identifying(repr(row))
        assert MARK not in row.patient
        assert UID_MARK not in row.patient


def test_no_more_than_one_volume_is_in_memory(here):
    """Neither earlier volumes, nor the one whose refusal is looked into a second time."""
    shape = (64, 64, 64)

    def peak(options):
        tracemalloc.start()
        for row in stock("in", options=options):
            assert row.size == shape
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peaks = {}
    (here / "in").mkdir()
    for count in (1, 4):
        for k in range(count):
            write_volume(ct_volume(shape, seed=k), here / "in" / f"{k}.nii")
        peaks[count] = peak(None)
        # Everything is refused, and read once more.
        peaks[-count] = peak(ReadOptions(hu_offset=1024.0))
    for value in peaks.values():
        assert value < 1.25 * peaks[1]


SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
WHOLE = hnp.arrays(np.int16, SHAPES)
FRACTIONS = hnp.arrays(np.float32, SHAPES, elements=st.floats(-5000, 5000, width=32))
PERCENTS = st.lists(st.floats(0, 100), min_size=1, max_size=4)


def volume(voxels, outside=None):
    return Volume(voxels, Grid(voxels.shape, np.eye(4)), outside)


@pytest.fixture(autouse=True, params=[1, 1 << 20])
def slab_voxels(request, monkeypatch):
    monkeypatch.setattr(module, "_SLAB_VOXELS", request.param)


def banal(voxels, percents):
    return tuple(np.percentile(np.rint(voxels), percents, method="inverted_cdf").astype(int))


@given(voxels=st.one_of(WHOLE, FRACTIONS), percents=PERCENTS)
def test_they_are_those_of_numpy_on_whole_hu(voxels, percents):
    assert hu_percentiles(volume(voxels), percents) == banal(voxels, percents)


@given(voxels=WHOLE, data=st.data())
def test_only_the_field_of_view_counts(voxels, data):
    outside = data.draw(hnp.arrays(bool, voxels.shape))
    found = hu_percentiles(volume(voxels, outside), (1, 50, 99))
    inside = voxels[~outside]
    assert found == (banal(inside, (1, 50, 99)) if inside.size else None)


def test_values_beyond_int16_count_as_its_ends():
    voxels = np.array([-1e6, 0, 1e6], np.float32).reshape(1, 1, 3)
    assert hu_percentiles(volume(voxels), (0, 50, 100)) == (-32768, 0, 32767)


def test_the_order_in_memory_does_not_matter():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for order in "CF":
        assert hu_percentiles(volume(np.array(voxels, order=order)), (25,)) == (5,)
