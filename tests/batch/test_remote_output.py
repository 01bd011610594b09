from dataclasses import replace
from pathlib import Path

import pytest

from ct_vae.batch.failures import FailureList
from ct_vae.batch.pipeline import Kept, Work
from ct_vae.batch.remote_output import OutputFolder, opened_output, remote_lists, result_files
from ct_vae.batch.shard import Shard
from ct_vae.errors import ConfigError, InputError
from ct_vae.find_volumes.cases import Case
from ct_vae.io.remote import RemoteFile, canonical_url

URL = canonical_url("memory://bucket/out")
CASE = Case(Path("in/a.nii"), "a")


def work_in(folder: Path) -> Work[str, str]:
    """Work that writes its result next to a record."""
    target = folder / "a_latent.nii.gz"

    def write(_, made):
        target.write_text(made)
        (folder / "a_latent.json").write_text("{}")
        return f"{target} (1 s)"

    return Work(
        target=lambda _: target,
        read=lambda _: "voxels",
        make=lambda case, given, reserved: given,
        write=write,
        read_bytes=lambda _: None,
        write_bytes=len,
        room=lambda: 0,
        kept=lambda _: Kept("kept") if target.exists() else None,
    )


def stored(memory):
    return {path.removeprefix("/bucket/out/") for path in memory.find("/bucket/out")}


def test_a_local_folder_changes_nothing(tmp_path):
    folder, work = OutputFolder(tmp_path), work_in(tmp_path)
    assert folder.staged(work) is work
    assert folder.with_urls(print) is print
    folder.check_inputs([CASE], [tmp_path / "a"])
    with opened_output(tmp_path) as opened:
        assert opened.local == tmp_path


def test_results_are_uploaded_with_their_records_and_kept_the_next_time(memory):
    with opened_output(URL) as folder:
        staged = folder.staged(work_in(folder.local))
        assert staged.kept(CASE) is None
        line = staged.write(CASE, staged.make(CASE, "voxels", 0))
        assert not list(folder.local.iterdir())
        lines = []
        folder.with_urls(lines.append)(line)
        assert lines == [f"{URL}/a_latent.nii.gz (1 s)"]
    assert stored(memory) == {"a_latent.nii.gz", "a_latent.json"}
    with opened_output(URL) as folder:
        assert folder.staged(work_in(folder.local)).kept(CASE) == Kept("kept")


def test_lists_of_failures_are_continued_and_removed_when_they_are_empty(memory):
    with opened_output(URL) as folder:
        FailureList(folder.local, "encode", Shard()).add(CASE, InputError("bad"))
    assert stored(memory) == {"failures.jsonl"}
    assert [file.name for file in remote_lists(URL)] == ["failures.jsonl"]
    with opened_output(URL) as folder:
        assert "bad" in (folder.local / "failures.jsonl").read_text()
        FailureList(folder.local, "encode", Shard())
    assert stored(memory) == set()


def test_an_error_names_the_url_and_the_lists_are_uploaded(memory):
    def fail():
        with opened_output(URL) as folder:
            FailureList(folder.local, "encode", Shard()).add(CASE, InputError("bad"))
            raise InputError(f"{folder.local}/x: bad")

    with pytest.raises(InputError, match=rf"^{URL}/x: bad"):
        fail()
    assert stored(memory) == {"failures.jsonl"}


def test_a_result_never_replaces_an_input(tmp_path):
    folder = OutputFolder(tmp_path, "memory://bucket/in")
    case = replace(CASE, remote=RemoteFile("memory://bucket/in/a.nii"))
    folder.check_inputs([CASE], [tmp_path / "a.nii"])
    with pytest.raises(ConfigError, match="an input has this URL"):
        folder.check_inputs([case], [tmp_path / "a.nii"])


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a_decoded.nii.gz", ["a_decoded.nii.gz"]),
        ("a_latent.nii.gz", ["a_latent.nii.gz", "a_latent.json"]),
        ("a_latent.latz", ["a_latent.latz", "a_latent.latz.json"]),
        ("a_emb.nii.gz", ["a_emb.nii.gz", "a_emb.nii.gz.json", "a_emb.json"]),
    ],
)
def test_a_latent_brings_its_records(name, files):
    assert [path.name for path in result_files(Path(name))] == files


def test_lists_of_failures_are_continued_in_a_folder_with_wildcards_in_its_name(memory):
    url = canonical_url("memory://bucket/out [1]")
    for name in ("a", "b"):
        with opened_output(url) as folder:
            FailureList(folder.local, name, Shard()).add(CASE, InputError(name))
    lines = memory.cat_file("/bucket/out [1]/failures.jsonl").splitlines()
    assert len(lines) == 2


def test_a_list_of_failures_may_be_removed_by_another_process(memory):
    with opened_output(URL) as folder:
        FailureList(folder.local, "encode", Shard()).add(CASE, InputError("bad"))
    with opened_output(URL) as first, opened_output(URL) as second:
        FailureList(first.local, "encode", Shard())
        FailureList(second.local, "encode", Shard())
    assert stored(memory) == set()
