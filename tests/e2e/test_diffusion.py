import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_samples_of_the_example_are_closer_to_the_phantoms_than_noise(repository, tmp_path):
    sizes = ["--phantoms", 4, "--autoencoder-samples", 240, "--steps", 60, "--samples", 2]
    done = subprocess.run(
        [sys.executable, "scripts/diffusion.py", "-o", tmp_path, *map(str, sizes)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"HU histogram, (\w+) from phantoms: ([\d.]+) HU", done.stdout)
    distances = {name: float(hu) for name, hu in lines}
    assert distances["samples"] < distances["noise"]
    assert len(list((tmp_path / "samples").glob("*.nii.gz"))) == 2
