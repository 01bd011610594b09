import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import OutputError
from ct_vae.evaluation.metrics.compression import (
    Compression,
    measure_compression,
    step_of_rise,
)
from ct_vae.io import read_latent, write_latent, write_volume
from ct_vae.latent import StepResponse
from tests._small import ct_volume, small_codec


def test_sizes_are_those_of_the_files_that_users_keep(tmp_path):
    volume = ct_volume()
    latent = small_codec().encode(volume)
    found = measure_compression(volume, latent)
    write_latent(latent, tmp_path / "latent" / "case_latent.nii.gz")
    write_volume(volume, tmp_path / "case.nii.gz")
    kept = list((tmp_path / "latent").iterdir())
    assert {path.suffix for path in kept} == {".gz", ".json"}
    # A record holds no name, so that its length is always the same.
    assert found.latent_bytes == pytest.approx(sum(p.stat().st_size for p in kept), abs=64)
    assert found.nifti_bytes == pytest.approx((tmp_path / "case.nii.gz").stat().st_size, abs=64)
    assert (found.voxels, found.values) == (volume.voxels.size, latent.array.size)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    volume = ct_volume()
    measure_compression(volume, small_codec().encode(volume))
    assert not list(tmp_path.iterdir())


def test_without_room_for_temporary_files_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    volume = ct_volume()
    with pytest.raises(OutputError, match="temporary"):
        measure_compression(volume, small_codec().encode(volume))


def test_ratios_by_hand():
    line = Compression(voxels=1000, values=50, latent_bytes=125, nifti_bytes=500).line()
    assert line["voxels_per_value"] == 20
    assert line["bits_per_voxel"] == 1
    assert line["ratio_to_int16"] == 16
    assert line["ratio_to_nifti_gz"] == 4


def test_the_coded_size_is_that_of_the_file_with_the_predicted_rise(tmp_path):
    volume = ct_volume((24, 20, 16))
    latent = small_codec().encode(volume, response=True)
    step = step_of_rise(latent.record.step_response)
    write_latent(latent, tmp_path / "case_latent.latz", "coded", step=step)
    found = measure_compression(volume, latent)
    assert found.coded_bytes == (tmp_path / "case_latent.latz").stat().st_size
    assert found.bits_per_voxel_at_1_percent == 8 * found.coded_bytes / volume.voxels.size
    # The steps of an untrained model are far larger than its values, unless the rise is small.
    fine = step_of_rise(latent.record.step_response, 1e-5)
    write_latent(latent, tmp_path / "fine_latent.latz", "coded", step=fine)
    rise = read_latent(tmp_path / "fine_latent.latz").record.quantisation.rmse_rise
    assert rise == pytest.approx(1e-5, rel=0.2)
    assert measure_compression(volume, small_codec().encode(volume)).coded_bytes is None


@given(st.floats(0.1, 100), st.floats(1e-3, 100), st.floats(1e-3, 0.5))
def test_the_step_of_a_rise_is_the_inverse_of_the_prediction(rmse, change, rise):
    response = StepResponse(crop=(1, 1, 1), rmse_hu=rmse, change_hu=change)
    step = step_of_rise(response, rise)
    assert response.rmse_rise(step**2) == pytest.approx(rise, rel=1e-6)
    assert step_of_rise(StepResponse(crop=(1, 1, 1), rmse_hu=rmse, change_hu=0)) is None
    assert step_of_rise(None) is None
