import re

import pytest

from tests._forked import process


@pytest.mark.slow
def test_samples_of_the_example_are_closer_to_the_phantoms_than_noise(
    repository, tmp_path, monkeypatch
):
    monkeypatch.chdir(repository)
    sizes = ["--phantoms", 2, "--autoencoder-samples", 240, "--steps", 40, "--samples", 2]
    done = process("-o", tmp_path, *sizes, script="scripts/diffusion.py")
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"HU histogram, (\w+) from phantoms: ([\d.]+) HU", done.stdout)
    distances = {name: float(hu) for name, hu in lines}
    assert distances["samples"] < distances["noise"]
    assert len(list((tmp_path / "samples").glob("*.nii.gz"))) == 2
