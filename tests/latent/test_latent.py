import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.latent import Latent
from tests.io._samples import latent_of


def moved(grid, distance_mm):
    affine = grid.affine.copy()
    affine[1, 3] += distance_mm
    return Grid(grid.shape, affine)


def test_array_grid_and_record_must_belong_together():
    latent, codes = latent_of(), latent_of("codes")
    wrong = [
        (latent.array[:, 1:], latent.grid, latent.record),
        (latent.array[0], latent.grid, latent.record),
        (latent.array, latent.grid, codes.record),
        (codes.array.astype(np.float32), codes.grid, codes.record),
        (latent.array.astype(np.int16), latent.grid, latent.record),
        (latent.array, moved(latent.grid, 0.011), latent.record),
        (latent.array, latent.grid, latent.record.model_copy(update={"factor": (2, 4, 4)})),
    ]
    for array, grid, record in wrong:
        with pytest.raises(InputError):
            Latent(array, grid, record)
    Latent(latent.array, moved(latent.grid, 0.009), latent.record)


def test_the_summary_tells_kind_size_and_model():
    latent = latent_of()
    text = repr(latent)
    assert text.startswith(f"Latent(mean, {len(latent.array)} channels, {latent.grid}, ")
    assert f"model {latent.record.model.name} {latent.record.model.sha256[:8]}" in text
    assert "\n" not in text
