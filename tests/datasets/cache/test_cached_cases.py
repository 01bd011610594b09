import os
from contextlib import contextmanager

import numpy as np
import pytest

from ct_vae.config.data import DataConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.datasets.cache.cached_cases import CachedCases
from ct_vae.datasets.cache.space import entry_bytes
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.cache.volume_cache import VolumeCache
from ct_vae.datasets.sources.case import FileCase, PhantomCase
from ct_vae.datasets.sources.split import build_split
from ct_vae.errors import ConfigError
from ct_vae.io import read_volume
from ct_vae.preprocess.pipeline import build_preprocessor
from tests.datasets._files import write_ct_series, write_volumes
from tests.io._series import MARK


class Counted:
    """A case that counts how often it is loaded."""

    def __init__(self, case):
        self.case = case
        self.loads = 0

    def __getattr__(self, name):
        return getattr(self.case, name)

    def load(self):
        self.loads += 1
        return self.case.load()


@pytest.fixture
def case(tmp_path):
    write_volumes(tmp_path, "a")
    return Counted(FileCase("a", tmp_path / "a.nii.gz"))


def load(folder, case, lines=None, **preprocess):
    lines = [] if lines is None else lines
    return CachedCases(folder, PreprocessConfig(**preprocess), lines.append).load(case, wait=True)


def entries(folder):
    return sorted(folder.glob("*.bricks"))


def test_a_case_is_decoded_once_and_is_what_it_would_be_in_memory(tmp_path, case):
    folder = tmp_path / "cache"
    for _ in range(3):
        found = load(folder, case, axcodes="PIR")
    assert case.loads == 1
    oriented = build_preprocessor(PreprocessConfig(axcodes="PIR")).orient(case.case.load())
    expected = StoredVolume.of(oriented)
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_array_equal(found.body_counts, expected.body_counts)
    assert found.spacing_mm == expected.spacing_mm


def test_other_preprocessing_is_another_entry_and_the_window_is_none(tmp_path, case):
    folder = tmp_path / "cache"
    for preprocess in ({}, {"axcodes": "LPS"}, {"spacing_mm": (3.0, 3.0, 3.0)}):
        load(folder, case, **preprocess)
    assert case.loads == len(entries(folder)) == 3
    load(folder, case, window_hu=(-200.0, 300.0))
    assert case.loads == 3


def test_content_decides_wherever_it_is(tmp_path, case):
    folder = tmp_path / "cache"
    load(folder, case)
    moved = Counted(FileCase("b", (tmp_path / "a.nii.gz").rename(tmp_path / "b.nii.gz")))
    load(folder, moved)
    assert moved.loads == 0
    write_volumes(tmp_path, "other", "b")
    load(folder, moved)
    assert moved.loads == 1


def test_a_damaged_entry_is_written_again_and_that_is_reported(tmp_path, case):
    folder, lines = tmp_path / "cache", []
    expected = np.array(load(folder, case, lines).voxels)
    assert lines == []
    (path,) = entries(folder)
    os.truncate(path, path.stat().st_size - 1)
    np.testing.assert_array_equal(load(folder, case, lines).voxels, expected)
    assert case.loads == 2
    assert len(lines) == 1
    assert lines[0].startswith("a: its entry in the cache is written again: it has ")
    load(folder, case, lines)
    assert len(lines) == 1


def test_a_cache_that_cannot_be_written_serves_what_it_holds(tmp_path, case, monkeypatch):
    folder = tmp_path / "cache"
    load(folder, case)
    monkeypatch.setattr(
        "ct_vae.datasets.cache.volume_cache.os.open", lambda *_: pytest.fail("it was written")
    )
    assert load(folder, case) is not None


def found(folder, cases, lines):
    return CachedCases(folder, PreprocessConfig(), lines.append, False).find_all(cases)


def test_stored_cases_are_found_and_the_space_of_the_others_is_told(tmp_path, case):
    folder, lines = tmp_path / "cache", []
    other = FileCase("b", write_volumes(tmp_path / "more", "b", shape=(9, 70, 66)) / "b.nii.gz")
    assert found(folder, [case, other], lines) == {}
    assert not folder.exists()
    load(folder, other)
    assert list(found(folder, [case, other], lines)) == [1]
    load(folder, case)
    assert list(found(folder, [case, other], lines)) == [0, 1]
    assert case.loads == 1
    assert "2 of them (0.1 MiB) have to be written" in lines[0]
    assert "takes 0.1 MiB" in lines[1]
    assert "1 of them (0.0 MiB) have to be written" in lines[1]
    assert lines[2].endswith(f"in {folder} and is complete")
    written = sum(path.stat().st_size for path in folder.iterdir() if path.name != "locks")
    told = sum(entry_bytes(shape) for shape in ((13, 10, 11), (9, 70, 66)))
    assert told - 3000 < written <= told


def test_cases_that_cannot_be_read_are_missing_and_of_unknown_size(tmp_path, case):
    lines = []
    broken = FileCase("x", tmp_path / "x.nii")
    broken.path.write_bytes(b"no volume")
    gone = FileCase("y", tmp_path / "y.nii")
    assert found(tmp_path / "cache", [case, broken, gone], lines) == {}
    assert "3 of them (at least 0.0 MiB)" in lines[0]


def test_a_cache_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path, case, monkeypatch
):
    folder, lines, full = tmp_path / "cache", [], entry_bytes((13, 10, 11)) - 1
    monkeypatch.setattr("ct_vae.datasets.cache.cached_cases.free_bytes", lambda _: full)
    with pytest.raises(
        ConfigError, match=r"needs 0\.0 MiB more for 1 .* name a folder on a larger"
    ):
        found(folder, [case], lines)
    assert not folder.exists()
    assert len(lines) == 1
    monkeypatch.setattr("ct_vae.datasets.cache.cached_cases.free_bytes", lambda _: full + 1)
    assert found(folder, [case], lines) == {}
    load(folder, case)
    monkeypatch.setattr("ct_vae.datasets.cache.cached_cases.free_bytes", lambda _: 0)
    assert list(found(folder, [case], lines)) == [0]


def test_entries_of_the_first_format_are_reported_and_never_read(tmp_path, case):
    folder, lines = tmp_path / "cache", []
    folder.mkdir()
    for name in ("ab" * 32 + ".npy", "other.npy"):
        np.save(folder / name, np.zeros((64, 64, 64), np.int16))
    assert found(folder, [case], lines) == {}
    assert len(lines) == 2
    assert "also holds 1 entries of format 1 (0.5 MiB)" in lines[1]
    load(folder, case)
    assert case.loads == 1
    assert len(list(folder.glob("*.npy"))) == 2


def test_waiting_for_another_process_is_reported(tmp_path, case, monkeypatch):
    """Another process writes the entry while this one waits."""
    lines, folder = [], tmp_path / "cache"
    real = VolumeCache.writing

    @contextmanager
    def writing(self, key, wait):
        if wait:
            with real(self, key, wait) as mine:
                self.put(key, build_preprocessor(PreprocessConfig()).orient(case.case.load()))
                yield mine
        else:
            yield False

    monkeypatch.setattr(VolumeCache, "writing", writing)
    cases = CachedCases(folder, PreprocessConfig(), lines.append)
    assert cases.load(case, wait=False) is None
    assert lines == []
    assert cases.load(case, wait=True) is not None
    assert lines == ["a: waiting for another process to write it to the cache"]
    assert case.loads == 0


def test_phantoms_are_distinguished_by_what_makes_them(tmp_path):
    for seed, spacing in ((0, 20.0), (0, 20.0), (1, 20.0), (1, 24.0)):
        load(tmp_path, PhantomCase("head", seed, (spacing,) * 3))
    assert len(entries(tmp_path)) == 3


def test_a_series_is_all_of_its_files_and_nothing_of_the_patient_is_kept(tmp_path):
    source = write_ct_series(tmp_path / MARK)
    write_ct_series(source, series="1.2.9.1.2", number=4, seed=1)
    cases = build_split(DataConfig(train=(str(tmp_path / MARK),))).train
    assert len(cases) == 2
    assert [len(case.files) for case in cases] == [8, 8]
    folder = tmp_path / "cache"
    for case in cases:
        np.testing.assert_array_equal(load(folder, case).voxels.shape, (10, 12, 8))
    assert len(entries(folder)) == 2
    whole = FileCase("x", source)
    assert len(whole.files) == 16
    for path in folder.rglob("*"):
        assert MARK not in str(path.relative_to(folder))
        if path.is_file():
            assert MARK.encode() not in path.read_bytes()
            assert b"1.2.9" not in path.read_bytes()


def test_one_slice_that_changes_is_another_volume(tmp_path):
    write_ct_series(tmp_path / "s")
    (case,) = build_split(DataConfig(train=(str(tmp_path / "s"),))).train
    first = load(tmp_path / "cache", case)
    write_ct_series(tmp_path / "s", seed=5)
    again = load(tmp_path / "cache", case)
    assert first.file != again.file
    np.testing.assert_array_equal(
        np.sort(again.voxels, axis=None), np.sort(read_volume(tmp_path / "s").voxels, axis=None)
    )
