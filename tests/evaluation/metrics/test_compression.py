import tempfile

import pytest

from ct_vae.errors import OutputError
from ct_vae.evaluation.metrics.compression import Compression, measure_compression
from ct_vae.io import write_latent, write_volume
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
