import json

import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError

from ct_vae.grid import Grid
from ct_vae.latent import GridRecord, LatentRecord
from tests._strategies import grids
from tests.io._samples import latent_of


@given(grids(shear=1e-2))
def test_a_grid_survives_json_bit_for_bit(grid):
    text = GridRecord.of(grid).model_dump_json()
    assert GridRecord.model_validate_json(text).grid() == grid


def test_a_record_survives_json():
    record = latent_of().record
    assert LatentRecord.model_validate_json(record.model_dump_json()) == record


def test_a_latent_voxel_is_at_the_mean_of_its_block():
    latent = latent_of()
    steps = latent.record.preprocess
    oriented = steps.oriented.grid()
    for index in np.ndindex(latent.grid.shape):
        first = np.multiply(index, latent.record.factor) - steps.pad_low
        block = first + np.array(list(np.ndindex(latent.record.factor)))
        center = oriented.to_world(block).mean(axis=0)
        np.testing.assert_allclose(latent.grid.to_world(index), center, atol=1e-9)


def test_the_grid_of_a_sheared_source_is_orthonormal():
    latent = latent_of()
    affine = latent.record.preprocess.oriented.grid().affine.copy()
    affine[0, 2] += 0.02
    oriented = GridRecord.of(Grid(latent.record.preprocess.oriented.shape, affine))
    steps = latent.record.preprocess.model_copy(update={"oriented": oriented})
    record = latent.record.model_copy(update={"preprocess": steps})
    assert record.padded_grid().shear > 1e-3
    assert record.latent_grid().shear < 1e-12


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 3},
        {"format": "other"},
        {"kind": "mode"},
        {"scaling_factor": float("nan")},
        {"unknown": 1},
        {"file_sha256": "xyz"},
        {"image_channels": 0},
        {"factor": [4, 4]},
        {"factor": [4, 4, "4"]},
    ],
)
def test_a_record_out_of_its_schema_is_refused(change):
    content = json.loads(latent_of().record.model_dump_json()) | change
    with pytest.raises(ValidationError):
        LatentRecord.model_validate_json(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [{"pad_low": [-1, 0, 0]}, {"window_hu": [5.0, 5.0]}, {"axcodes": "XYZ"}, {"clipped_above": 2}],
)
def test_preprocessing_out_of_its_ranges_is_refused(change):
    content = json.loads(latent_of().record.model_dump_json())
    content["preprocess"] |= change
    with pytest.raises(ValidationError):
        LatentRecord.model_validate_json(json.dumps(content))
