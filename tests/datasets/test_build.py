import multiprocessing
import os
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ct_vae.datasets.build import build_patches, image_size, load_cases
from ct_vae.datasets.sources.case import FileCase
from ct_vae.datasets.sources.split import build_split
from ct_vae.errors import ConfigError, InputError
from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.datasets._files import run_config, write_list, write_volumes


@pytest.fixture
def files(tmp_path):
    write_volumes(tmp_path / "in", "a", "b", "c")
    return {"train": (str(tmp_path / "in"),)}


def build(config, lines=None):
    lines = [] if lines is None else lines
    return build_patches(config, build_split(config.data).train, lines.append)


def same(first, second):
    return all(torch.equal(first[i], second[i]) for i in range(len(first)))


def test_patches_follow_the_configuration(files):
    data = build(run_config(files, {"patch_size": (8, 4, 8), "samples": 12}))
    assert len(data) == 12
    assert data.case_count == 3
    assert data[0].shape == (1, 8, 4, 8)
    assert data[0].dtype == torch.int16
    noisy = build(run_config({**files, "augment": {"noise_hu": 5.0}}))
    assert noisy[0].dtype == torch.float32
    other = build(run_config(files, {"seed": 1, "patch_size": (8, 4, 8)}))
    assert not same(data, other)


def test_each_case_is_reported_as_it_is_loaded(files):
    lines = []
    build(run_config(files), lines)
    assert lines == [f"[{i + 1}/3] read training case {key}" for i, key in enumerate("abc")]


@pytest.mark.parametrize("preprocess", [{}, {"axcodes": "LPI"}, {"spacing_mm": (1.1, 1.1, 1.1)}])
def test_cache_and_memory_give_the_same_patches(tmp_path, files, preprocess):
    augment = {"flip": (0.5, 0.5, 0.5), "rotate_degrees": 5.0, "noise_hu": 5.0}
    plain = {**files, "augment": augment}
    cached = {**plain, "cache_dir": str(tmp_path / "cache")}
    memory, first, again = (
        build(run_config(data, preprocess=preprocess)) for data in (plain, cached, cached)
    )
    assert same(memory, first)
    assert same(memory, again)


def test_workers_read_the_cache_themselves(tmp_path, files):
    data = build(run_config({**files, "cache_dir": str(tmp_path / "cache")}))
    assert len(pickle.dumps(data)) < 5000
    helped = DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="fork")
    alone = DataLoader(data, batch_size=4)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_images_are_resized_to_the_resolution_on_request(files):
    config = run_config({**files, "resize_to": "resolution"}, model={"resolution": 12})
    assert image_size(config) == (12, 12, 12)
    assert build(config)[0].shape == (1, 12, 12, 12)
    assert image_size(run_config(files)) is None


def test_all_refused_cases_are_reported_and_nothing_is_trained(tmp_path):
    """Damage behind the header is found only when a volume is read."""
    for name in ("a.nii", "b.nii", "c.nii"):
        write_volume(ct_volume(), tmp_path / "in" / name)
        if name != "b.nii":
            os.truncate(tmp_path / "in" / name, 1000)
    files = {"train": (str(tmp_path / "in"),)}
    for data in (files, {**files, "cache_dir": str(tmp_path / "cache")}):
        lines = []
        with pytest.raises(InputError) as caught:
            build(run_config(data), lines)
        text = str(caught.value)
        assert "2 problems" in text
        assert "a.nii: is truncated" in text
        assert "c.nii: is truncated" in text
        assert [line for line in lines if not line.startswith("the cache")] == lines[-1:]


def test_what_is_too_small_is_reported_even_if_no_header_tells(tmp_path):
    write_volume(ct_volume((4, 13, 12)), tmp_path / "a.mha")
    with pytest.raises(ConfigError, match=r"a: training.patch_size \[8, 8, 8\] does not fit"):
        build(run_config({"train": (str(tmp_path),), "small_volumes": "refuse"}))


@pytest.mark.parametrize(("choice", "left"), [("pad", 2), ("skip", 1)])
def test_small_volumes_are_padded_or_left_out_and_reported(tmp_path, choice, left):
    write_volume(ct_volume((4, 13, 12)), tmp_path / "a.mha")
    write_volume(ct_volume((14, 13, 12)), tmp_path / "b.mha")
    lines = []
    config = run_config({"train": (str(tmp_path),), "small_volumes": choice})
    patches = build(config, lines)
    assert patches.case_count == left
    assert sum("smaller than a patch" in line and line.endswith(": a") for line in lines) == 1
    assert all(patches[i].shape == (1, 8, 8, 8) for i in range(len(patches)))


def test_a_set_of_nothing_but_small_volumes_cannot_be_skipped(tmp_path):
    write_volume(ct_volume((4, 13, 12)), tmp_path / "a.mha")
    with pytest.raises(InputError, match="all 1 training volumes are smaller"):
        build(run_config({"train": (str(tmp_path),), "small_volumes": "skip"}))


def test_weights_of_a_datalist_reach_the_patches(tmp_path):
    write_volumes(tmp_path, "a", "b", "c")
    entries = [{"image": "a.nii.gz"}, {"image": "b.nii.gz", "weight": 2.5}]
    data = write_list(tmp_path, training=entries, validation=["c.nii.gz"])
    assert [v.weight for v in build(run_config(data))._volumes] == [1.0, 2.5]


@pytest.mark.parametrize("weight", [0, -1, "2", True, None, [1]])
def test_weights_that_are_no_positive_numbers_are_refused(tmp_path, weight):
    write_volumes(tmp_path, "a", "b")
    entries = [{"image": "a.nii.gz", "weight": weight}]
    data = write_list(tmp_path, training=entries, validation=["b.nii.gz"])
    with pytest.raises(ConfigError, match=r"training\[0\] 'weight' is a positive number, got"):
        build(run_config(data))


def test_headers_are_looked_at_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ct_vae.datasets.sources.case.read_volume", lambda *_: pytest.fail("it was read")
    )
    write_volumes(tmp_path, "a")
    write_volumes(tmp_path, "b", shape=(4, 13, 12))
    data = write_list(tmp_path, training=["a.nii.gz", "b.nii.gz"])
    with pytest.raises(ConfigError, match="does not fit"):
        build(run_config(data | {"small_volumes": "refuse"}))


def fill(config, ready, start, results):
    cases = build_split(config.data).train
    ready.release()
    start.wait(60)
    volumes = load_cases(config, cases, lambda _: None)
    results.put([int(volume.voxels.astype(np.int64).sum()) for volume in volumes])


def test_processes_that_start_at_once_fill_one_cache(tmp_path, monkeypatch):
    """Each volume is decoded by one of them only."""
    write_volumes(tmp_path / "in", *[f"v{i}" for i in range(6)])
    data = {"train": (str(tmp_path / "in"),)}
    expected = [int(v.voxels.astype(np.int64).sum()) for v in load_all(run_config(data))]
    config = run_config({**data, "cache_dir": str(tmp_path / "cache")})
    fork = multiprocessing.get_context("fork")
    ready, start, results = fork.Semaphore(0), fork.Event(), fork.Queue()
    decoded, load = fork.Value("i", 0), FileCase.load

    def counted(case):
        with decoded.get_lock():
            decoded.value += 1
        return load(case)

    monkeypatch.setattr(FileCase, "load", counted)
    others = [fork.Process(target=fill, args=(config, ready, start, results)) for _ in range(3)]
    for process in others:
        process.start()
    for _ in others:
        assert ready.acquire(timeout=60)
    start.set()
    assert [results.get(timeout=60) for _ in others] == [expected] * 3
    for process in others:
        process.join(60)
        assert process.exitcode == 0
    assert decoded.value == 6
    assert len(list((tmp_path / "cache").glob("*.bricks"))) == 6
    assert not list((tmp_path / "cache").glob(".*.tmp"))


def load_all(config):
    return load_cases(config, build_split(config.data).train, lambda _: None)


def test_a_case_that_another_process_makes_is_waited_for_last(tmp_path, files, monkeypatch):
    """The others are done first."""
    cached = run_config({**files, "cache_dir": str(tmp_path / "cache")})
    real, calls = load_cases.__globals__["CachedCases"].load, []

    def load(self, case, wait):
        calls.append((case.key, wait))
        return None if case.key == "a" and not wait else real(self, case, wait)

    monkeypatch.setattr("ct_vae.datasets.build.CachedCases.load", load)
    lines = []
    assert build(cached, lines).case_count == 3
    assert calls == [("a", False), ("b", False), ("c", False), ("a", True)]
    assert lines[-1] == "[3/3] read training case a"
