"""Latents are kept while nobody touches their sources, and told from others by content."""

import os
from dataclasses import replace

import numpy as np
import pytest

from ct_vae.batch import kept_latents
from ct_vae.batch.jobs import do_cases, encoding, latent_name, name_targets
from ct_vae.find_volumes.cases import discover
from ct_vae.io import ReadOptions, file_stamp, read_latent, write_volume
from ct_vae.io.latent.record import load_record
from ct_vae.io.latent.storage import LatentForm
from ct_vae.volume import Volume
from tests._small import ct_volume, small_codec
from tests.io._series import make_series, write_series


@pytest.fixture
def settled(monkeypatch):
    """Files are as old as it takes."""
    monkeypatch.setattr(file_stamp, "SETTLED_SECONDS", -3600.0)


@pytest.fixture
def reads(monkeypatch):
    """Cases that have been read."""
    seen = []
    real = kept_latents.Case.read
    monkeypatch.setattr(
        kept_latents.Case,
        "read",
        lambda case, options: (seen.append(case.key), real(case, options))[1],
    )
    return seen


def run(folder, reading=None, **wishes):
    """Encode all that lies in a folder; the lines that are told."""
    cases, lines = discover([folder / "in"]), []
    targets = name_targets(cases, folder / "out", latent_name)
    work = encoding(small_codec(), targets, reading or ReadOptions(), **wishes)
    assert do_cases(cases, work, "encode", folder / "out", lines.append) == 0
    return lines


def made(lines):
    return sum(line.endswith(" s)") for line in lines)


@pytest.fixture
def folder(tmp_path):
    write_volume(ct_volume(seed=1), tmp_path / "in" / "a.nii.gz")
    write_volume(ct_volume(seed=2), tmp_path / "in" / "b.mha")
    write_series(tmp_path / "in" / "dicom", make_series())
    return tmp_path


def test_untouched_sources_are_not_read_again(folder, settled, reads):
    assert made(run(folder)) == 3
    assert len(reads) == 3
    lines = run(folder)
    assert (made(lines), len(reads)) == (0, 3)
    assert lines[-1] == "encode: 3 kept"


def test_verifying_reads_them_all(folder, settled, reads):
    run(folder)
    assert made(run(folder, keep="verified")) == 0
    assert len(reads) == 6


def test_nothing_is_kept_where_that_is_asked_for(folder, settled, reads):
    run(folder)
    assert made(run(folder, keep="none")) == 3


def test_a_source_with_another_time_is_read_once_and_known_from_then_on(folder, settled, reads):
    run(folder)
    os.utime(folder / "in" / "a.nii.gz", (1, 1))
    for _ in range(2):
        assert made(run(folder)) == 0
        assert reads[3:] == ["a"]


@pytest.mark.parametrize("kept_time", [True, False])
def test_other_voxels_under_the_same_name_are_encoded(folder, settled, reads, kept_time):
    """Even with the size and the time of the first: the system notes when it was changed."""
    path = folder / "in" / "b.mha"
    run(folder)
    before, status = read_latent(folder / "out" / "b_latent.nii.gz").array, path.stat()
    write_volume(ct_volume(seed=3), path)
    if kept_time:
        content = path.read_bytes()
        path.write_bytes(content[: status.st_size].ljust(status.st_size, b"\0"))
        write_volume(ct_volume(seed=3), path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert made(run(folder)) == 1
    assert not np.array_equal(read_latent(folder / "out" / "b_latent.nii.gz").array, before)


def test_a_slice_that_is_gone_is_noticed(folder, settled, reads):
    run(folder)
    sorted((folder / "in" / "dicom").iterdir())[-1].unlink()
    assert made(run(folder)) == 1


def test_the_same_file_read_otherwise_is_another_source(folder, settled, reads):
    run(folder)
    assert made(run(folder, ReadOptions(hu_offset=10.0))) == 3


def test_a_latent_that_is_damaged_or_of_other_wishes_is_made_again(folder, settled, reads):
    run(folder)
    latent = folder / "out" / "a_latent.nii.gz"
    latent.write_bytes(latent.read_bytes()[:-3])
    assert made(run(folder)) == 1
    assert made(run(folder, form=LatentForm("float32"))) == 3
    assert made(run(folder, seed=3)) == 3


def test_a_file_that_has_just_been_written_leaves_no_stamp(folder, reads):
    run(folder)
    record = load_record(folder / "out" / "a_latent.json")
    assert record.run.source_files is None
    run(folder)
    assert len(reads) == 6


def test_a_file_that_changes_while_it_is_read_leaves_no_stamp(folder, settled, monkeypatch):
    real = kept_latents.Case.read

    def read(case, options):
        volume = real(case, options)
        if case.key == "a":
            write_volume(replace(volume, voxels=volume.voxels + np.int16(1)), case.path)
        return volume

    monkeypatch.setattr(kept_latents.Case, "read", read)
    run(folder)
    monkeypatch.setattr(kept_latents.Case, "read", real)
    assert made(run(folder)) == 1


def test_a_record_that_was_edited_vouches_for_nothing(folder, settled, reads):
    run(folder)
    path = folder / "out" / "a_latent.json"
    path.write_text(path.read_text().replace('"seed": null', '"seed": 5'))
    assert made(run(folder)) == 1


def test_no_time_of_a_source_is_in_a_record(folder, settled):
    run(folder)
    status = (folder / "in" / "a.nii.gz").stat()
    text = (folder / "out" / "a_latent.json").read_text()
    assert len(load_record(folder / "out" / "a_latent.json").run.source_files) == 64
    assert str(status.st_mtime_ns) not in text
    assert str(int(status.st_mtime)) not in text


def test_equal_volumes_of_other_files_are_the_same_source(folder, settled, reads):
    run(folder)
    volume = ct_volume(seed=1)
    write_volume(Volume(volume.voxels, volume.grid), folder / "in" / "a.nii.gz")
    assert made(run(folder)) == 0
