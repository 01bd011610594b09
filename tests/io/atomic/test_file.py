import errno
import fcntl
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ct_vae.errors import InputError, OutputError
from ct_vae.io.atomic.file import atomic_write, sha256_file, write_json, write_text, write_together
from ct_vae.io.atomic.leftovers import temporary_prefix
from tests._asserts import assert_only_files


def stale(target: Path) -> Path:
    """What a killed writer leaves."""
    path = target.parent / f".{target.name}.0123abcd.tmp"
    path.write_bytes(b"half")
    return path


def refuse(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_the_file_appears_whole_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "er" / "a.bin"
    with atomic_write(target) as file:
        file.write(b"one")
        assert not target.exists()
        file.write(b"two")
    assert target.read_bytes() == b"onetwo"
    assert_only_files(tmp_path, {"deep/er/a.bin"})


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_exception_in_the_block_passes_and_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write_and_fail():
        with atomic_write(target) as file:
            file.write(b"new" * 10**6)
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert target.read_bytes() == b"old"
    assert_only_files(tmp_path, {"a.bin"})


def test_the_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127, "two\nlines and spaces.json", "[x].a.b"])
def test_any_legal_name_can_be_written_and_cleaned(tmp_path, name, monkeypatch):
    target = tmp_path / name
    write_text(target, "one")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError):
        write_text(target, "two")
    assert target.read_text() == "one"
    assert_only_files(tmp_path, {name})


def test_a_name_too_long_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="choose a shorter name"):
        write_text(tmp_path / ("a" * 256), "x")
    assert_only_files(tmp_path, set())


def test_stale_temporary_files_of_the_same_target_are_removed(tmp_path):
    target, other = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    stale(target)
    kept = stale(other)
    write_text(target, "x")
    assert_only_files(tmp_path, {"a.nii.gz", kept.name})


def test_the_temporary_file_of_a_living_writer_is_left_alone(tmp_path):
    target = tmp_path / "a"
    living = stale(target)
    with living.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(target, "x")
        assert living.read_bytes() == b"half"
    write_text(target, "y")
    assert_only_files(tmp_path, {"a"})


def test_writers_of_one_target_do_not_disturb_each_other(tmp_path):
    target = tmp_path / "a"
    contents = [str(n) * 10000 for n in range(8)]
    threads = [threading.Thread(target=write_text, args=(target, text)) for text in contents * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in contents
    assert_only_files(tmp_path, {"a"})


def test_a_target_that_is_no_file_is_refused_and_kept(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OutputError, match=name):
            write_text(tmp_path / name, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert_only_files(tmp_path, set())


def test_a_file_in_place_of_a_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="part of the path is a file"):
        write_text(tmp_path / "file" / "a", "x")
    assert (tmp_path / "file").read_text() == "x"


def test_a_link_is_replaced_and_what_it_points_to_is_kept(tmp_path):
    (tmp_path / "input").write_text("mine")
    (tmp_path / "output").symlink_to("input")
    write_text(tmp_path / "output", "new")
    assert (tmp_path / "input").read_text() == "mine"
    assert (tmp_path / "output").read_text() == "new"


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "permission")]
)
def test_the_message_names_the_file_the_reason_and_the_next_step(tmp_path, monkeypatch, code, hint):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / "a.json", "x")
    assert str(tmp_path / "a.json") in caught.value.cause
    assert os.strerror(code) in caught.value.cause
    assert hint in caught.value.hint
    assert caught.value.exit_code == 7


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"


def test_every_byte_and_name_is_synced_in_order(tmp_path, monkeypatch):
    log = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (log.append(n), r(*a))[1])
    write_together([(tmp_path / "a", b"1"), (tmp_path / "b", b"2")])
    assert log == ["write", "fsync"] * 2 + ["replace", "fsync"] * 2


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    write_text(tmp_path / "a", "0123456789" * 10)
    assert (tmp_path / "a").read_text() == "0123456789" * 10


def test_json_keeps_the_order_of_keys_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None, "ü"]})
    text = (tmp_path / "a.json").read_text()
    assert text.startswith('{\n  "b": 1,')
    assert text.endswith("}\n")
    assert json.loads(text) == {"b": 1, "a": [1.5, None, "ü"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert_only_files(tmp_path, {"a.json"})


def test_a_checksum_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a").startswith("ba7816bf8f01cfea")
    with pytest.raises(InputError, match="missing"):
        sha256_file(tmp_path / "missing")


def test_a_temporary_name_never_exceeds_what_a_file_system_takes():
    for length in (1, 200, 240, 241, 242, 255):
        name = temporary_prefix(Path("x" * length)) + "01234567.tmp"
        assert len(name) <= 255
