"""Rows 31 and 32 of the list of faults: disks that fail and processes that are killed."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ct_vae.datasets.cache import VolumeCache
from ct_vae.errors import OutputError
from ct_vae.io import read_latent, write_latent, write_volume
from ct_vae.io.atomic import write_text
from ct_vae.training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from tests._small import ct_volume
from tests.cli._run import call
from tests.faults._doors import contents, left_in
from tests.io._samples import Disk, latent_of

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


def state_of(k):
    """A state of a run, which differs with ``k``."""
    return Checkpoint(k, {"a": torch.full((500,), float(k))}, {"config": {}})


WRITERS = {
    "latent": lambda place, k: write_latent(latent_of(seed=k), place / "a_latent.nii.gz"),
    "volume": lambda place, k: write_volume(ct_volume(seed=k), place / "a.nii.gz"),
    "metaimage": lambda place, k: write_volume(ct_volume(seed=k), place / "a.mha"),
    "state": lambda place, k: save_checkpoint(place, state_of(k)),
    "cache": lambda place, k: VolumeCache(place).put("ab" * 32, ct_volume(seed=k)),
    "table": lambda place, k: write_text(place / "metrics.csv", f"{k}\n" * 400),
}
# A process that is killed at one operation on the disk, by its number.
KILLED = """
import os, sys
from pathlib import Path
from tests.faults.test_disk_rows import WRITERS
name, place, wanted = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
done = 0
def counted(original):
    def call(*args, **options):
        global done
        done += 1
        if done == wanted:
            os.kill(os.getpid(), 9)
        if original is write:
            args = args[0], bytes(args[1][:2000])
        return original(*args, **options)
    return call
write = os.write
for operation in ("write", "fsync", "replace"):
    setattr(os, operation, counted(getattr(os, operation)))
if wanted > 0:
    WRITERS[name](place, 2)
else:
    for wanted in range(1, 10_000):
        child = os.fork()
        if not child:
            done = 0
            WRITERS[name](place / str(wanted), 2)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
    os.write(1, str(wanted).encode())
"""


def killed(name, place):
    """Kill a writer once at each of its operations, in a folder of its own; how often."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, name, place, "0"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize("name", WRITERS)
def test_32_a_kill_at_any_operation_leaves_old_or_new_and_the_next_start_cleans_up(tmp_path, name):
    write = WRITERS[name]
    places = [tmp_path / "run" / str(k) for k in range(1, 60)]
    for place in (tmp_path / "old", tmp_path / "new", *places):
        place.mkdir(parents=True)
        write(place, 1)
    write(tmp_path / "new", 2)
    olds, news = (relative(tmp_path / state) for state in ("old", "new"))
    count = killed(name, tmp_path / "run")
    assert 3 < count < len(places)
    for place in places[: count - 1]:
        for file, content in relative(place).items():
            if not any(part.startswith(".") for part in Path(file).parts):
                assert content in (olds.get(file), news.get(file))
        if name == "state":
            assert newest_checkpoint(place, pytest.fail).samples_seen in {1, 2}
        write(place, 2)
        assert relative(place) == news


def relative(place):
    """All files of a folder by their names in it; times of the disk are left out."""
    found = {os.path.relpath(path, place): content for path, content in contents(place).items()}
    for name, content in found.items():
        if b'"stamp"' in content:
            facts = json.loads(content)["entry"]
            found[name] = json.dumps({key: facts[key] for key in facts if key != "stamp"}).encode()
    return found


@pytest.mark.parametrize("code", CODES[:3], ids=lambda code: errno.errorcode[code])
def test_31_no_writer_leaves_a_temporary_file_when_the_disk_fails(tmp_path, disk, code):
    for name, write in WRITERS.items():
        place = tmp_path / name
        write(place, 1)
        before = relative(place)
        for operation in ("write", "fsync", "replace"):
            disk.fail_at(operation, 1, code)
            with pytest.raises(OutputError) as caught:
                write(place, 2)
            disk.heal()
            assert caught.value.exit_code == 7
            after = relative(place)
            if name == "cache":
                # What is derived may be lost: without its record an entry is nobody's.
                assert after.items() <= before.items()
            else:
                assert after == before
