import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.cache import volume_cache as cache_module
from ct_vae.datasets.cache.volume_cache import DamagedEntryError, VolumeCache, entry_key
from ct_vae.errors import OutputError
from ct_vae.grid import Grid
from ct_vae.volume import Volume
from tests._asserts import assert_only_files
from tests._small import ct_volume

KEY = entry_key("content", "recipe", "RAS", None)


@pytest.fixture
def cache(tmp_path):
    found = VolumeCache(tmp_path / "cache")
    found.put(KEY, ct_volume())
    return found


def test_what_was_put_in_comes_out(cache):
    found = cache.find(KEY)
    np.testing.assert_array_equal(found.voxels, ct_volume().voxels)
    assert found.voxels.dtype == np.dtype("<i2")
    assert found.spacing_mm == (1.5, 2.0, 2.5)
    np.testing.assert_array_equal(
        found.body_counts, (ct_volume().voxels > -500).sum(axis=(1, 2), dtype=np.int64)
    )


def test_an_entry_that_is_not_there_is_none(cache, tmp_path):
    assert cache.find(entry_key("other")) is None
    assert VolumeCache(tmp_path / "no folder").find(KEY) is None


def test_a_file_without_its_record_is_nobodys(cache):
    (cache.folder / f"{KEY}.json").unlink()
    assert cache.find(KEY) is None


@given(st.lists(st.sampled_from(["a", "b", "RAS", "LPS", None, 1.0]), min_size=1, max_size=4))
def test_everything_that_decides_is_in_the_key(parts):
    key = entry_key(*parts)
    assert len(key) == 64
    assert key == entry_key(*parts)
    assert key != entry_key(*parts, "more")
    assert key != entry_key("less", *parts)


def test_a_new_version_begins_anew(monkeypatch):
    monkeypatch.setattr(cache_module, "__version__", "999")
    assert entry_key("content", "recipe", "RAS", None) != KEY


def test_an_entry_with_a_new_time_is_read_in_full_and_believed(cache):
    os.utime(cache.folder / f"{KEY}.bricks")
    np.testing.assert_array_equal(cache.find(KEY).voxels, ct_volume().voxels)


def damage(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    # Longer than one tick of the file system's clock after it was written.
    time.sleep(0.02)
    path.write_bytes(content)


@given(st.floats(0, 1, exclude_max=True))
def test_a_flipped_bit_anywhere_is_found(tmp_path_factory, share):
    cache = VolumeCache(tmp_path_factory.mktemp("cache"))
    cache.put(KEY, ct_volume((4, 4, 4)))
    for suffix in ("bricks", "json"):
        path = cache.folder / f"{KEY}.{suffix}"
        whole = path.read_bytes()
        damage(path, int(share * len(whole)))
        with pytest.raises(DamagedEntryError):
            cache.find(KEY)
        path.write_bytes(whole)
    np.testing.assert_array_equal(cache.find(KEY).voxels, ct_volume((4, 4, 4)).voxels)


@pytest.mark.parametrize("keep", [0, 5, 100, 500, -1])
def test_a_cut_file_is_found_and_so_is_a_longer_or_a_missing_one(cache, keep):
    path = cache.folder / f"{KEY}.bricks"
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(DamagedEntryError):
        cache.find(KEY)
    path.write_bytes(whole + b"x")
    with pytest.raises(DamagedEntryError, match=f"{len(whole) + 1} of {len(whole)} bytes"):
        cache.find(KEY)
    path.unlink()
    with pytest.raises(DamagedEntryError, match="cannot be read"):
        cache.find(KEY)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"entry": {}, "sha256": ""}', "\x00", "null"])
def test_a_strange_record_is_found(cache, text):
    (cache.folder / f"{KEY}.json").write_text(text)
    with pytest.raises(DamagedEntryError, match="its record"):
        cache.find(KEY)


def test_a_header_is_looked_at_even_if_nobody_seems_to_have_touched_it(cache, monkeypatch):
    """A disk that forgets changes no time."""
    path = cache.folder / f"{KEY}.bricks"
    known = cache_module.stamp(path)
    damage(path, 10)
    monkeypatch.setattr(cache_module, "stamp", lambda _: known)
    with pytest.raises(DamagedEntryError, match="its header"):
        cache.find(KEY)


def test_a_damaged_entry_is_replaced(cache):
    damage(cache.folder / f"{KEY}.bricks", 300)
    cache.put(KEY, ct_volume())
    np.testing.assert_array_equal(cache.find(KEY).voxels, ct_volume().voxels)


def test_a_copied_entry_is_read_in_full_once_and_then_known(cache, monkeypatch):
    path = cache.folder / f"{KEY}.bricks"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole)
    seen = []
    real = cache_module.sha256_file
    monkeypatch.setattr(cache_module, "sha256_file", lambda p: (seen.append(p), real(p))[1])
    for _ in range(3):
        np.testing.assert_array_equal(cache.find(KEY).voxels, ct_volume().voxels)
    assert len(seen) == 1


def test_an_untouched_entry_is_not_read_in_full(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "sha256_file", lambda _: pytest.fail("it was"))
    assert cache.find(KEY) is not None


def test_other_voxels_never_pass_for_those_of_an_older_record(cache, monkeypatch):
    """A writer that dies between its two files leaves nothing that is believed."""

    def fail(*_):
        raise OutputError("the disk is full")

    monkeypatch.setattr(cache_module, "write_json", fail)
    with pytest.raises(OutputError):
        cache.put(KEY, ct_volume(seed=1))
    assert cache.find(KEY) is None


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
def test_what_a_killed_writer_leaves_is_cleaned_by_the_next(tmp_path, call):
    """Killed in the middle of its work it leaves no entry, and then no file of its own."""
    script = (
        "import os, pathlib, signal, sys\n"
        "from ct_vae.datasets.cache.volume_cache import VolumeCache\n"
        "import numpy as np\n"
        "from ct_vae.grid import Grid\n"
        "from ct_vae.volume import Volume\n"
        "shape = (5, 4, 3)\n"
        "volume = Volume(np.full(shape, 7, np.int16), Grid(shape, np.eye(4)))\n"
        f"name = {call!r}\n"
        "real = getattr(os, name)\n"
        "calls = []\n"
        "def killed(*args, **kwargs):\n"
        "    calls.append(args)\n"
        "    if len(calls) > 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*args, **kwargs)\n"
        "cache = VolumeCache(pathlib.Path(sys.argv[1]))\n"
        "cache.put(sys.argv[2], volume)\n"
        "setattr(os, name, killed)\n"
        "for _ in range(9):\n"
        "    cache.put(sys.argv[2], volume)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), KEY]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    cache = VolumeCache(tmp_path)
    found = cache.find(KEY)
    assert found is None or bool((found.voxels == 7).all())
    cache.put(KEY, ct_volume())
    np.testing.assert_array_equal(cache.find(KEY).voxels, ct_volume().voxels)
    assert_only_files(tmp_path, {f"{KEY}.bricks", f"{KEY}.json"})


def test_nothing_but_entries_is_in_the_folder_and_nothing_of_the_source_in_them(cache):
    assert_only_files(cache.folder, {f"{KEY}.bricks", f"{KEY}.json"})
    facts = json.loads((cache.folder / f"{KEY}.json").read_text())["entry"]
    assert set(facts) == {
        "format",
        "shape",
        "spacing_mm",
        "body_counts",
        "bytes",
        "sha256",
        "stamp",
    }


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "cache").write_text("a file")
    cache = VolumeCache(tmp_path / "cache")
    with pytest.raises(OutputError, match="cannot write"), cache.writing(KEY, wait=True):
        pytest.fail("it was entered")


@contextmanager
def another_process(folder):
    """One that holds the lock until the block ends."""
    script = (
        "import sys, pathlib\n"
        "from ct_vae.datasets.cache.volume_cache import VolumeCache\n"
        "with VolumeCache(pathlib.Path(sys.argv[1])).writing(sys.argv[2], True) as mine:\n"
        "    print(mine, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "True\n"
        yield process


def test_one_process_writes_an_entry_and_others_go_on_or_wait(tmp_path):
    cache = VolumeCache(tmp_path)
    with another_process(tmp_path):
        with cache.writing(KEY, wait=False) as mine:
            assert not mine
        with cache.writing(entry_key("another"), wait=False) as mine:
            assert mine
    with cache.writing(KEY, wait=True) as mine:
        assert mine


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    with another_process(tmp_path) as process:
        process.kill()
        with VolumeCache(tmp_path).writing(KEY, wait=True) as mine:
            assert mine


def test_without_locks_the_last_of_two_equal_writers_wins(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    cache = VolumeCache(tmp_path)
    with cache.writing(KEY, wait=False) as first, cache.writing(KEY, wait=False) as second:
        assert first
        assert second
        cache.put(KEY, ct_volume())
        cache.put(KEY, ct_volume())
    np.testing.assert_array_equal(cache.find(KEY).voxels, ct_volume().voxels)


def test_float_volumes_are_rounded(tmp_path):
    voxels = np.full((2, 2, 2), 40.6, np.float32)
    cache = VolumeCache(tmp_path)
    cache.put(KEY, Volume(voxels, Grid((2, 2, 2), np.eye(4))))
    assert (cache.find(KEY).voxels == 41).all()
