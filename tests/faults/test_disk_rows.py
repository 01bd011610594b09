"""Rows 31 and 32 of the list of faults: disks that fail and processes that are killed."""

import errno
import itertools
import json
import os
import shutil

import pytest

from ct_vae.datasets.cache.volume_cache import VolumeCache
from ct_vae.errors import OutputError
from ct_vae.io import read_latent, write_volume
from ct_vae.training import train
from ct_vae.training.checkpoints.checkpoint import newest_checkpoint
from ct_vae.training.reporting.run_log import METRICS
from tests._small import ct_volume
from tests.cli._run import call
from tests.faults._doors import left_in
from tests.faults._writers import (
    KEY,
    WRITERS,
    assert_old_or_new,
    hidden,
    kill_everywhere,
    visible,
)
from tests.io._samples import Disk
from tests.io._series import make_series, write_series
from tests.training.test_trainer import config, patches

CODES = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE]


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.mark.parametrize("code", CODES, ids=lambda code: errno.errorcode[code])
@pytest.mark.parametrize("operation", ["write", "fsync", "replace"])
def test_31_a_disk_that_fails_ends_with_7_and_the_same_command_goes_on(
    model_folder, tmp_path, disk, operation, code
):
    for k, name in enumerate("ab"):
        write_volume(ct_volume(seed=k), tmp_path / "in" / f"{name}.nii.gz")
    out = tmp_path / "out"
    disk.fail_at(operation, 2, code)
    done, text = call("encode", model_folder, tmp_path / "in", "-o", out)
    assert done == 7, text
    assert os.strerror(code) in text
    assert not [name for name in left_in(out) if name.endswith((".tmp", ".lease"))]
    for name in left_in(out):
        if name.endswith("_latent.nii.gz") and (out / name.replace(".nii.gz", ".json")).exists():
            read_latent(out / name)
    disk.heal()
    assert call("encode", model_folder, tmp_path / "in", "-o", out)[0] == 0
    expected = {f"{n}_latent{end}" for n in "ab" for end in (".nii.gz", ".json")}
    assert left_in(out) == expected
    for name in "ab":
        read_latent(out / f"{name}_latent.nii.gz")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders of killed writers, and how often each was killed."""
    place = tmp_path_factory.mktemp("killed")
    return place, kill_everywhere(place)


@pytest.mark.parametrize("name", WRITERS)
def test_32_a_kill_at_any_operation_leaves_old_or_new_and_the_next_start_cleans_up(
    killed, tmp_path, name
):
    (run, counts), write = killed, WRITERS[name].write
    write(tmp_path, 1)
    old = visible(tmp_path)
    write(tmp_path, 2)
    new = visible(tmp_path)
    assert old != new
    assert counts[name] > 3
    for place in (run / name / str(k) for k in range(1, counts[name] + 1)):
        assert_old_or_new(name, place, old, new)
        if name == "state":
            assert newest_checkpoint(place, pytest.fail).samples_seen in {1, 2}
        write(place, 2)
        assert visible(place) == new
        assert not hidden(place)


@pytest.mark.parametrize("name", WRITERS)
def test_31_a_fault_at_any_operation_leaves_old_or_new_and_no_temporary_file(tmp_path, disk, name):
    write, disk.piece = WRITERS[name].write, WRITERS[name].piece
    for place in (tmp_path / "old", tmp_path / "new", tmp_path / "run"):
        place.mkdir()
        write(place, 1)
    disk.clear()
    write(tmp_path / "new", 2)
    points = disk.points()
    assert {"write", "fsync", "replace"} <= {operation for operation, _ in points}
    place, old, new = tmp_path / "run", visible(tmp_path / "old"), visible(tmp_path / "new")
    for (operation, number), code in itertools.product(points, (errno.ENOSPC, errno.EIO)):
        shutil.rmtree(place)
        shutil.copytree(tmp_path / "old", place)
        disk.fail_at(operation, number, code)
        with pytest.raises(OutputError) as caught:
            write(place, 2)
        disk.heal()
        replaced = disk.replaced
        assert caught.value.exit_code == 7
        assert os.strerror(code) in caught.value.cause
        assert not hidden(place), (operation, number)
        assert_old_or_new(name, place, old, new)
        if name == "log":
            assert (place / METRICS).read_bytes().endswith(b"}\n")
        elif name == "cache":
            # The older entry lost its record, since a new one is written only where that was wrong.
            assert (VolumeCache(place).find(KEY) is None) == (replaced < 2)
        elif replaced == 0:
            assert visible(place) == old


def spread(points):
    """The first, a middle and the last operation of each kind."""
    kinds = [list(group) for _, group in itertools.groupby(points, lambda point: point[0])]
    return [kind[at] for kind in kinds for at in sorted({0, len(kind) // 2, len(kind) - 1})]


def test_31_a_run_that_meets_a_failing_disk_goes_on_to_the_same_end(tmp_path, disk):
    disk.piece = 1 << 20
    whole = train(patches(), config(tmp_path / "whole"), name="a")
    # What is written by offset is the name of the process, which nothing depends on.
    points = [point for point in disk.points() if point[0] != "pwrite"]
    for k, (operation, number) in enumerate(spread(points)):
        place = tmp_path / f"{operation}_{number}"
        disk.fail_at(operation, number, (errno.ENOSPC, errno.EIO)[k % 2])
        with pytest.raises(OutputError) as caught:
            train(patches(), config(place), name="a")
        disk.heal()
        assert caught.value.exit_code == 7
        assert not list(place.rglob("*.tmp")), place
        if (place / METRICS).exists():
            assert all(json.loads(line) for line in (place / METRICS).read_text().splitlines())
        again = train(patches(), config(place), name="a", resume=True)
        for file in ("model.safetensors", METRICS):
            assert (again / file).read_bytes() == (whole / file).read_bytes(), place


@pytest.fixture(scope="module")
def decoding(model_folder, tmp_path_factory):
    """Arguments that decode a latent to DICOM, but for the folder."""
    place = tmp_path_factory.mktemp("decoding")
    source = write_series(place / "in" / "case", make_series(5))
    assert call("encode", model_folder, source, "-o", place / "latents")[0] == 0
    return ("decode", model_folder, place / "latents", "--format", "dicom", "--like", source)


@pytest.fixture(scope="module")
def measuring(model_folder, tmp_path_factory):
    """Arguments that evaluate a case, but for the folder."""
    place = tmp_path_factory.mktemp("measuring")
    write_volume(ct_volume((16, 16, 12)), place / "a.nii.gz")
    return ("evaluate", model_folder, place / "a.nii.gz")


@pytest.mark.parametrize("command", ["decoding", "measuring"])
def test_31_a_command_on_a_failing_disk_ends_with_7(request, tmp_path, disk, command):
    arguments, disk.piece = request.getfixturevalue(command), 1 << 20
    disk.clear()
    assert call(*arguments, "-o", tmp_path / "whole")[0] == 0
    names = left_in(tmp_path / "whole")
    again = ["--overwrite"] if command == "decoding" else []
    for k, (operation, number) in enumerate(spread(disk.points())):
        out, code = tmp_path / str(k), (errno.ENOSPC, errno.EIO)[k % 2]
        disk.fail_at(operation, number, code)
        done, text = call(*arguments, "-o", out)
        disk.heal()
        assert done == 7, text
        assert os.strerror(code) in text
        assert not hidden(out)
        if command == "decoding":
            assert left_in(out) in (set(), names)
    assert call(*arguments, "-o", out, *again)[0] == 0
    assert left_in(out) == names
