import json
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import torch

from ct_vae import __version__
from ct_vae.evaluation import record as evaluation_record
from ct_vae.evaluation.measure import COMPARED_WINDOWS, Plan
from ct_vae.inference import latent_record
from ct_vae.inference.latent_record import latent_statistics, run_record, source_record
from ct_vae.io import volume_sha256
from tests._small import ct_volume, small_codec

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_statistics_are_those_of_the_array():
    latent = small_codec().encode(ct_volume())
    flat = latent.array.reshape(4, -1).astype(np.float64)
    np.testing.assert_allclose(latent.record.statistics.mean, flat.mean(1), rtol=1e-6)
    np.testing.assert_allclose(latent.record.statistics.std, flat.std(1), rtol=1e-6)


def test_the_deviation_of_the_posterior_is_its_root_mean_square():
    features = torch.zeros(1, 2, 3, 1, 1)
    std = torch.tensor([1.0, 2.0, 3.0])
    features[0, 1, :, 0, 0] = 2 * std.log()
    found = latent_statistics(np.zeros((1, 3, 1, 1), np.float32), features)
    np.testing.assert_allclose(found.posterior_std, [np.sqrt(np.mean([1, 4, 9]))], rtol=1e-6)


def test_the_source_is_known_by_its_voxels_and_grid():
    volume = ct_volume()
    record = source_record(volume)
    assert record.sha256 == volume_sha256(volume)
    assert (record.dtype, record.format) == ("int16", "memory")
    assert record.grid.shape == volume.grid.shape


def test_the_run_has_versions_and_time():
    record = run_record(torch.device("cpu"), 1.23456)
    assert (record.device, record.seconds) == ("cpu", 1.235)
    assert record.peak_memory_mb > 0
    assert {"ct_vae", "torch", "python"} <= record.versions.keys()
    json.loads(record.model_dump_json())


def test_the_version_is_known_without_an_installation(monkeypatch):
    """The package may only be on the path, as where nothing can be installed."""

    def version(name):
        if name == "ct_vae":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(latent_record, "version", version)
    monkeypatch.setattr(evaluation_record, "version", version)
    assert run_record(torch.device("cpu"), 1.0).versions["ct_vae"] == __version__
    plan = Plan(COMPARED_WINDOWS, (), ("errors",), unclipped=False)
    assert evaluation_record.plan_record(plan, [], "")["versions"]["ct_vae"] == __version__
    assert tomllib.loads(PROJECT.read_text())["project"]["version"] == __version__
