"""Every writer of the package, each with an older and a newer state, on disks that fail or die."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import torch

from ct_vae.batch.lease import Leases
from ct_vae.datasets.cache.volume_cache import VolumeCache
from ct_vae.evaluation.report import HtmlReport
from ct_vae.evaluation.tables import summarize
from ct_vae.io import read_volume, write_latent, write_volume
from ct_vae.io.atomic.file import write_text
from ct_vae.io.dicom.derived.source import opened_series
from ct_vae.io.dicom.derived.write import write_dicom
from ct_vae.training.checkpoints.checkpoint import Checkpoint, save_checkpoint
from ct_vae.training.reporting.run_log import METRICS, RunLog, read_log, rewind_log
from tests._small import ct_volume
from tests.evaluation.report._report import case_of, thorax
from tests.faults._doors import contents
from tests.io._derived import DERIVATION, decoded, record_of
from tests.io._samples import latent_of
from tests.io._series import make_series, write_series

KEY = "ab" * 32
# Lines of a log before and after it is rewound to 2 samples and goes on.
LOGS = {
    1: [{"samples_seen": n, "loss": 1.0} for n in (1, 2, 3)],
    2: [{"samples_seen": n, "loss": 1.0 + (n > 2)} for n in (1, 2, 3, 4)],
}


def state_of(k):
    """A state of a run, which differs with ``k``."""
    return Checkpoint(k, {"a": torch.full((500,), float(k))}, {"config": {}})


@cache
def _source():
    """Grid and template of a small series."""
    with tempfile.TemporaryDirectory() as place:
        folder = write_series(Path(place), make_series(4, sides=(8, 6)))
        volume = read_volume(folder)
        with opened_series([folder]) as found:
            return volume.grid, found.template_of(record_of(volume))


def _dicom(place, k):
    grid, template = _source()
    write_dicom(decoded(grid, k), template, place / "series", DERIVATION, overwrite=True)


def _log(place, k):
    if k > 1:
        rewind_log(place / METRICS, 2, validated=True)
    with RunLog(place / METRICS) as log:
        for line in LOGS[k][2 * (k - 1) :]:
            log.write(line)


@cache
def _page(k):
    """A report of one small case, and what it says."""
    report = HtmlReport(Path("report.html"))
    case = case_of(thorax((20, 16, 12)), sigma=0.5 * k)
    report.add_case(case)
    return report, case.rows, summarize(case.rows)


def _report(place, k):
    report, rows, summary = _page(k)
    with contextlib.chdir(place):
        report.write(rows, summary, {"version": "1"})


@cache
def cached_volume(k):
    """A volume of four columns of bricks."""
    return ct_volume((2, 66, 66), seed=k)


def _lease(place, k):
    leases, target = Leases(), place / "a_latent.nii.gz"
    with leases:
        assert leases.take(target) is None
        write_text(target, str(k))


@dataclass(frozen=True)
class Writer:
    """A writer of state 1 or 2 into a folder.

    Attributes:
        write: What writes.
        piece: How many bytes the disk takes at once.
        together: Whether all files appear at once.
    """

    write: Callable[[Path, int], object]
    piece: int = 2000
    together: bool = False


WRITERS = {
    "coded latent": Writer(
        lambda place, k: write_latent(latent_of(seed=k), place / "b_latent.latz")
    ),
    "latent": Writer(lambda place, k: write_latent(latent_of(seed=k), place / "a_latent.nii.gz")),
    "volume": Writer(lambda place, k: write_volume(ct_volume(seed=k), place / "a.nii.gz")),
    "metaimage": Writer(lambda place, k: write_volume(ct_volume(seed=k), place / "a.mha")),
    "dicom": Writer(_dicom, 1500, together=True),
    "state": Writer(lambda place, k: save_checkpoint(place, state_of(k))),
    "cache": Writer(lambda place, k: VolumeCache(place).put(KEY, cached_volume(k)), 4000),
    "table": Writer(lambda place, k: write_text(place / "metrics.csv", f"{k}\n" * 4000)),
    "report": Writer(_report, 100_000),
    "log": Writer(_log, 100),
    "lease": Writer(_lease),
}

# Kills each writer once at each of its operations on the disk, a write in the middle of its bytes.
_KILLED = """
import json, os, sys
from pathlib import Path
from tests.faults._writers import WRITERS
done = wanted = piece = 0
def counted(operation):
    original = getattr(os, operation)
    def call(*args, **options):
        global done
        done += 1
        if operation == "write":
            args = args[0], bytes(args[1][:piece])
        if done == wanted:
            if operation == "write":
                original(args[0], args[1][:len(args[1]) // 2])
            os.kill(os.getpid(), 9)
        return original(*args, **options)
    return call
for operation in ("write", "pwrite", "fsync", "replace"):
    setattr(os, operation, counted(operation))
counts = {}
for name, writer in WRITERS.items():
    place, wanted, piece = Path(sys.argv[1]) / name, 0, writer.piece
    # Modules are loaded and samples made once, not in every child.
    writer.write(place / "warm", 2)
    while True:
        wanted += 1
        child = os.fork()
        if not child:
            done = 0
            writer.write(place / str(wanted), 2)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
    counts[name] = wanted - 1
print(json.dumps(counts))
"""
_MOST = 40


def kill_everywhere(place):
    """Kill every writer of state 2 at each of its operations; how many times.

    It writes over state 1, in folders that are named by writer and kill, from 1 on.
    """
    for name, writer in WRITERS.items():
        (place / name / "warm").mkdir(parents=True)
        writer.write(place / name / "warm", 1)
        for k in range(1, _MOST):
            shutil.copytree(place / name / "warm", place / name / str(k))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, place],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def visible(place):
    """Files under final names, by their names in the folder, without what differs each time."""
    found = {os.path.relpath(path, place): content for path, content in contents(place).items()}
    return {name: _told(content) for name, content in found.items() if "/." not in f"/{name}"}


def hidden(place):
    """Files and folders under other names than final ones."""
    return {p.name for p in place.rglob(".*")}


def _told(content):
    if content[128:132] == b"DICM":
        # UIDs and the time of writing are new each time; a cut file has fewer pixels.
        dataset = pydicom.dcmread(io.BytesIO(content))
        return bytes(dataset.PixelData) + str(dataset.ImagePositionPatient).encode()
    if b'"stamp"' in content:
        facts = json.loads(content)["entry"]
        return json.dumps({key: facts[key] for key in facts if key != "stamp"}).encode()
    return content


def assert_old_or_new(name, place, old, new):
    """No file is half of anything; those that belong together are of one time."""
    found = visible(place)
    if name == "log":
        assert_whole_lines(place / METRICS)
    elif WRITERS[name].together:
        # Between two renames the older folder is put aside.
        assert found in ({}, old, new)
    else:
        for file, content in found.items():
            assert content in (old.get(file), new.get(file)), file
    if name == "cache":
        entry = VolumeCache(place).find(KEY)
        wanted = [cached_volume(k).voxels for k in (1, 2)]
        assert entry is None or any(np.array_equal(entry.voxels, each) for each in wanted)


def assert_whole_lines(path):
    """A log holds the lines from before, or those that stay and some of the new ones."""
    lines = read_log(path)
    assert lines == LOGS[1] or lines in [LOGS[2][:n] for n in (2, 3, 4)]
