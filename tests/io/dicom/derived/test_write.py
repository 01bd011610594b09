import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ct_vae.errors import ConfigError, InputError, OutputError
from ct_vae.grid import Grid
from ct_vae.io import read_volume, write_volume
from ct_vae.io.dicom.derived.source import opened_series
from ct_vae.io.dicom.derived.write import write_dicom
from tests._asserts import assert_only_files, assert_same_place
from tests.io import _series as series
from tests.io._derived import DERIVATION, N, decoded, derive, record_of, slices_of
from tests.io._samples import CODES, Disk

ANGLE = np.deg2rad(20)
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "head down": (-1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (np.cos(ANGLE), np.sin(ANGLE), 0, -np.sin(ANGLE), np.cos(ANGLE), 0),
}


@pytest.fixture
def source(tmp_path):
    return series.write_series(tmp_path / "source", series.make_series(N))


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_pydicom_and_simpleitk_find_hu_and_geometry_of_the_source(tmp_path, orientation):
    originals = series.make_series(N, orientation=orientation)
    source = series.write_series(tmp_path / "source", originals)
    made = derive(source, tmp_path / "out")
    expected = np.rint(made.voxels)
    slices = slices_of(tmp_path / "out")
    for k, (found, original) in enumerate(zip(slices, originals, strict=True)):
        plane = found.pixel_array * float(found.RescaleSlope) + float(found.RescaleIntercept)
        np.testing.assert_array_equal(plane, expected[:, :, k].T)
        assert list(found.ImagePositionPatient) == pytest.approx(
            list(original.ImagePositionPatient), abs=1e-9
        )
        assert list(found.ImageOrientationPatient) == pytest.approx(list(orientation), abs=1e-9)
        assert found.PixelSpacing == original.PixelSpacing
        assert found.SliceThickness == original.SliceThickness
        assert found.InstanceNumber == k + 1
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, expected)
    grid = Grid.from_lps(
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )
    assert_same_place(grid, made.grid, 1e-4)


def test_it_reads_as_the_nifti_file_of_the_same_volume_reads(source, tmp_path):
    made = derive(source, tmp_path / "out")
    write_volume(made, tmp_path / "a.nii")
    again, nifti = read_volume(tmp_path / "out"), read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(again.voxels, nifti.voxels)
    assert again.voxels.dtype == nifti.voxels.dtype == np.int16
    assert again.grid == made.grid


@pytest.mark.parametrize("end", [-32768, 32767])
def test_the_whole_range_of_int16_comes_through(source, tmp_path, end):
    volume = read_volume(source)
    made = decoded(volume.grid)
    made.voxels[1, 2, 3] = end
    with opened_series([source]) as found:
        template = found.template_of(record_of(volume))
        write_dicom(made, template, tmp_path / "out", DERIVATION)
        assert slices_of(tmp_path / "out")[3].pixel_array[2, 1] == end
        made.voxels[1, 2, 3] = np.nan if end < 0 else 32768
        with pytest.raises(InputError, match="cannot be stored as int16"):
            write_dicom(made, template, tmp_path / "other", DERIVATION)
    assert not (tmp_path / "other").exists()


def test_a_volume_elsewhere_is_refused(source, tmp_path):
    volume = read_volume(source)
    moved = decoded(Grid(volume.grid.shape, volume.grid.affine * [[1], [1], [1.5], [1]]))
    with opened_series([source]) as found:
        template = found.template_of(record_of(volume))
    with pytest.raises(InputError, match="does not have the grid of the source"):
        write_dicom(moved, template, tmp_path / "out", DERIVATION)


def test_an_existing_folder_is_kept_unless_it_may_be_replaced(source, tmp_path):
    out = tmp_path / "out"
    derive(source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ConfigError, match="--overwrite"):
        derive(source, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    derive(source, out, overwrite=True)
    assert {p.name for p in out.iterdir()} == before.keys()
    assert slices_of(out)[0].SOPInstanceUID.encode() not in before["0001.dcm"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not a decoded series"):
        derive(source, out, overwrite=True)
    with pytest.raises(ConfigError, match="not a decoded series"):
        derive(source, source, overwrite=True)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_fault_at_any_operation_leaves_old_or_new(tmp_path, disk, overwrite):
    slices = series.make_series(4, sides=(8, 6))
    source = series.write_series(tmp_path / "in", slices)
    volume, out = read_volume(source), tmp_path / "out"
    with opened_series([source]) as found:
        template = found.template_of(record_of(volume))

    def write(seed):
        made = decoded(volume.grid, seed)
        write_dicom(made, template, out / "a", DERIVATION, overwrite=overwrite)

    def begin():
        disk.heal()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if overwrite:
            write(1)
        return contents(out)

    begin()
    before = dict(disk.counts)
    write(2)
    counts = {op: n - before[op] for op, n in disk.counts.items()}
    assert counts["write"] >= 4
    assert counts["fsync"] >= 4 + 2
    for operation, number in [(op, n) for op, count in counts.items() for n in range(1, count + 1)]:
        old = begin()
        disk.fail_at(operation, number, CODES[0])
        with pytest.raises(OutputError, match="cannot write"):
            write(2)
        # The last sync comes after the rename.
        if (operation, number) == ("fsync", counts["fsync"]):
            assert len(contents(out / "a")) == 4
        else:
            assert contents(out) == old
            assert [path.name for path in out.iterdir()] == ["a"] * overwrite


_KILLED = """
import os, sys
from tests.io._derived import derive
from pathlib import Path
count = 0
real = os.{moment}
def kill(*args):
    global count
    count += 1
    if count == {number}:
        os.kill(os.getpid(), 9)
    return real(*args)
os.{moment} = kill
derive(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number", "older"),
    [("write", 3, False), ("fsync", 2, True), ("replace", 1, True), ("replace", 2, True)],
)
def test_kill_leaves_no_half_folder_and_the_next_write_cleans_up(
    source, tmp_path, moment, number, older
):
    out = tmp_path / "out"
    if older:
        derive(source, out / "a")
    before = contents(out)
    script = _KILLED.format(moment=moment, number=number)
    done = subprocess.run(
        [sys.executable, "-c", script, os.fspath(source), os.fspath(out / "a")],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / "a").exists() == (older and (moment, number) != ("replace", 2))
    if (out / "a").exists():
        assert before.items() <= contents(out).items()
    if (moment, number) == ("replace", 2):
        # What had been put aside comes back before anything else is done.
        with pytest.raises(OutputError, match="exists already"):
            derive(source, out / "a")
        assert contents(out) == before
    derive(source, out / "a", overwrite=True)
    assert_only_files(out, {f"a/{k:04d}.dcm" for k in range(1, N + 1)})
