import os

import numpy as np
import pytest

from ct_vae.datasets.sources import check
from ct_vae.datasets.sources.check import checked_split, oriented_shape
from ct_vae.errors import ConfigError, InputError
from ct_vae.io import read_volume, write_volume
from ct_vae.preprocess.pipeline import build_preprocessor
from tests._small import ct_volume
from tests.datasets._files import run_config, write_list, write_volumes


def told(config, kind=ConfigError):
    with pytest.raises(kind) as caught:
        checked_split(config)
    return str(caught.value)


def test_what_is_right_becomes_a_split(tmp_path):
    write_volumes(tmp_path, "a", "b")
    data = write_list(tmp_path, training=["a.nii.gz"], validation=["b.nii.gz"])
    found = checked_split(run_config(data))
    assert (len(found.train), len(found.val)) == (1, 1)


def test_everything_is_reported_at_once_before_a_volume_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ct_vae.datasets.sources.case.read_volume", lambda *_: pytest.fail("it was read")
    )
    write_volumes(tmp_path, "a", "b", "c")
    write_volumes(tmp_path, "thin", shape=(13, 10, 5))
    (tmp_path / "broken.nii.gz").write_bytes(b"<html>")
    data = write_list(
        tmp_path,
        training=["a.nii.gz", "gone.nii.gz", "thin.nii.gz", {"image": "b.nii.gz", "patient": 1}],
        validation=[{"image": "c.nii.gz", "patient": 1}, "broken.nii.gz"],
    )
    text = told(run_config(data | {"small_volumes": "refuse"}))
    for words in (
        "4 problems",
        "training[1] gone.nii.gz is missing",
        "patient '1' is in training (b.nii.gz) and validation (c.nii.gz)",
        "thin.nii.gz: training.patch_size [8, 8, 8] does not fit into its 13 x 10 x 5 voxels; "
        "it takes patches of at most [8, 8, 4]",
        "broken.nii.gz: is a web page",
    ):
        assert words in text


def test_damaged_files_alone_are_an_input_error(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"\0" * 400)
    assert "only zeros" in told(run_config({"train": (str(tmp_path),)}), InputError)


def test_a_patch_that_no_phantom_holds_is_refused_before_one_is_made(monkeypatch):
    monkeypatch.setattr(
        "ct_vae.datasets.sources.case.make_phantom", lambda *_: pytest.fail("it was made")
    )
    data = {"phantoms": {"train": 2, "spacing_mm": (30.0, 30.0, 30.0)}, "small_volumes": "refuse"}
    text = told(run_config(data, {"patch_size": (8, 8, 16)}))
    assert "2 problems" in text
    assert "abdomen_0001: training.patch_size [8, 8, 16] does not fit into its 13 x 9 x 10" in text


def test_a_validation_volume_may_be_smaller_than_a_patch(tmp_path):
    write_volumes(tmp_path, "a")
    write_volumes(tmp_path, "small", shape=(5, 5, 5))
    data = write_list(tmp_path, training=["a.nii.gz"], validation=["small.nii.gz"])
    assert len(checked_split(run_config(data)).val) == 1


def test_patches_are_laid_along_the_axes_of_the_model(tmp_path):
    """The thin axis of the source is the first of the model."""
    affine = np.array([[0, 0, 3, 1], [-2, 0, 0, 2], [0, 1.5, 0, 3], [0, 0, 0, 1.0]])
    write_volume(ct_volume((12, 12, 4), affine), tmp_path / "a.nii")
    data = {"train": (str(tmp_path),), "small_volumes": "refuse"}
    assert "its 4 x 12 x 12 voxels" in told(run_config(data))
    assert checked_split(run_config(data, {"patch_size": (4, 12, 12)})).train


def test_slices_of_a_2d_model_need_two_sides(tmp_path):
    write_volumes(tmp_path, "a", shape=(13, 10, 2))
    data = {"train": (str(tmp_path),), "small_volumes": "refuse"}
    model = {"spatial_dims": 2}
    assert checked_split(run_config(data, {"patch_size": (8, 8)}, model=model)).train
    assert "does not fit" in told(run_config(data, {"patch_size": (8, 12)}, model=model))


def test_a_volume_that_takes_no_patch_at_all_is_to_be_left_out(tmp_path):
    write_volumes(tmp_path, "a", shape=(13, 3, 11))
    text = told(run_config({"train": (str(tmp_path),), "small_volumes": "refuse"}))
    assert text.endswith("leave it out, or set data.small_volumes to pad or skip")


@pytest.mark.parametrize("spacing", [(0.7, 2.0, 3.1), (3.0, 1.0, 2.5), (1.3, 1.7, 1.9)])
def test_sides_after_resampling_are_at_most_one_too_large(tmp_path, spacing):
    write_volumes(tmp_path, "a")
    path = tmp_path / "a.nii.gz"
    config = run_config(preprocess={"spacing_mm": spacing})
    found = build_preprocessor(config.preprocess).orient(read_volume(path)).grid.shape
    guess = oriented_shape(read_volume(path).grid, config.preprocess)
    assert all(0 <= g - f <= 1 for g, f in zip(guess, found, strict=True))


def memory():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_more_volumes_than_memory_need_a_cache(tmp_path, monkeypatch):
    write_volumes(tmp_path, "a")
    monkeypatch.setattr(check, "_MEMORY_SHARE", 1e-9)
    assert "data.cache_dir" in told(run_config({"train": (str(tmp_path),)}))
    monkeypatch.setattr(check, "_MEMORY_SHARE", 2 * 1430 * 3 / memory())
    plain = run_config({"train": (str(tmp_path),)})
    assert checked_split(plain).train
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert "in each of 4 processes" in told(plain)
    cached = {"train": (str(tmp_path),), "cache_dir": str(tmp_path / "cache")}
    assert checked_split(run_config(cached)).train
