import gzip
import tracemalloc

import numpy as np
import pytest

from ct_vae.batch.memory_need import latent_read_bytes, volume_read_bytes
from ct_vae.errors import NoInputError
from ct_vae.find_volumes.cases import Case
from ct_vae.io import ReadOptions, read_latent, write_latent, write_volume
from tests.io._samples import ct_volume, latent_of, with_posterior


def peak_bytes(work):
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


# Files are read in pieces of 16 MiB.
PIECE = 17 * 2**20


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_reading_a_volume_takes_at_most_the_estimate(tmp_path, dtype):
    case = Case(tmp_path / "a.nii.gz", "a")
    write_volume(ct_volume((128, 128, 64), dtype=dtype), case.path)
    used, volume = peak_bytes(case.read)
    assert volume_read_bytes(case, ReadOptions()) == 10 * volume.voxels.size
    assert volume.voxels.nbytes < used < 10 * volume.voxels.size + PIECE


def test_reading_a_latent_takes_at_most_the_estimate(tmp_path):
    case = Case(tmp_path / "a_latent.nii.gz", "a")
    write_latent(with_posterior(latent_of(shape=(64, 64, 40))), case.path)
    used, latent = peak_bytes(lambda: read_latent(case.path))
    assert latent.nbytes < used < latent_read_bytes(case) + PIECE


def test_standard_deviations_and_coded_files_need_more(tmp_path):
    latent, needs = with_posterior(latent_of()), []
    for name, dtype in (("a_latent.nii.gz", "int16"), ("b_latent.latz", "coded")):
        write_latent(latent, tmp_path / name, dtype)
        needs.append(latent_read_bytes(Case(tmp_path / name, name)))
    write_latent(latent_of(), tmp_path / "c_latent.nii.gz")
    plain = latent_read_bytes(Case(tmp_path / "c_latent.nii.gz", "c"))
    assert plain == 12 * latent.array.size
    assert needs[0] == 2 * plain
    assert needs[1] > plain


def test_the_need_is_unknown_without_a_header_or_record(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.mha")
    assert volume_read_bytes(Case(tmp_path / "a.mha", "a"), ReadOptions()) is None
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"x"))
    assert latent_read_bytes(Case(tmp_path / "a.nii.gz", "a")) is None
    with pytest.raises(NoInputError):
        volume_read_bytes(Case(tmp_path / "absent.nii", "a"), ReadOptions())
