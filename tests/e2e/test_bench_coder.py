import json

import numpy as np

from ct_vae.io import write_latent
from tests._forked import process
from tests.io._samples import latent_of


def test_speed_and_memory_of_the_coder_are_measured_on_a_latent(tmp_path):
    latent = latent_of(shape=(20, 18, 16))
    write_latent(latent, tmp_path / "a_latent.nii.gz", "float32")
    done = process(
        tmp_path / "a_latent.nii.gz",
        *("--repetitions", "1", "--step", "2", "--json", tmp_path / "rows.json"),
        script="scripts/bench_coder.py",
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["values"] == latent.array.size
    assert 0 < row["bits_per_value"] < 12
    assert min(row["encode_mb_s"], row["decode_mb_s"]) > 0
    assert 0 < row["encode_memory"] < 20
    assert 0 < row["decode_memory"] < 20
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert np.unique([line.count("|") for line in table]).size == 1
