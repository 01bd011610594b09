import numpy as np
import pytest

from ct_vae.evaluation.report.latent_layer import latent_layer
from ct_vae.latent import Latent, QuantizationRecord
from tests._small import SMALL_CODES, ct_volume, small_codec
from tests.evaluation.report._report import plainly_unpacked


def shown_values(description, texts):
    """Values (C, X, Y, Z) in RAS order, as the page computes them."""
    shape, parts = description["shape"], description["parts"]
    numbers = [plainly_unpacked(text).reshape(shape[::-1]).T.astype(np.int64) for text in texts]
    if description["codes"]:
        return sum((n & 0xFFFF) << 16 * place for place, n in enumerate(numbers))[None]
    assert parts == 1
    slopes, inters = description["slope"], description["inter"]
    return np.stack([i + s * n for n, s, i in zip(numbers, slopes, inters, strict=True)])


def test_means_keep_their_values_and_place():
    affine = np.array([[0, 0, 2.5, 1], [-1.5, 0, 0, 2], [0, 2, 0, 3], [0, 0, 0, 1.0]])
    volume = ct_volume(affine=affine)
    latent = small_codec().encode(volume)
    ras = volume.grid.reorient("RAS")
    description, texts = latent_layer(latent, ras.affine, 7)
    assert description["text"] == 7
    got = shown_values(description, texts)
    want = np.stack([latent.grid.reorient_array(c, "RAS") for c in latent.array])
    assert np.abs(got - want).max() <= np.ptp(want) / 65000
    for voxel in ((0, 0, 0), (3, 9, 5)):
        place = np.array(description["matrix"]) @ (*voxel, 1)
        mm = latent.grid.reorient("RAS").to_world(place)
        assert np.allclose(mm, ras.to_world(voxel))


def test_values_of_an_int16_file_are_exact():
    latent = small_codec().encode(ct_volume())
    slope, inter = 0.25, -3.0
    how = QuantizationRecord(dtype="int16", slope=slope, inter=inter)
    stored = np.round((latent.array - inter) / slope)
    values = (slope * stored + inter).astype(np.float32)
    record = latent.record.model_copy(update={"quantisation": how})
    exact = Latent(values, latent.grid, record)
    assert np.array_equal(shown_values(*latent_layer(exact, latent.grid.affine, 0)), values)


def test_a_constant_latent_is_shown():
    latent = small_codec().encode(ct_volume())
    flat = Latent(np.full_like(latent.array, 2.5), latent.grid, latent.record)
    assert (shown_values(*latent_layer(flat, latent.grid.affine, 0)) == 2.5).all()


@pytest.mark.parametrize("largest", [3, 40_000, 70_000, 2**31 - 1])
def test_codes_of_any_size_are_exact(largest):
    latent = small_codec(base=SMALL_CODES["vq"]).encode(ct_volume())
    codes = np.arange(latent.array.size, dtype=np.int32).reshape(latent.array.shape)
    codes = (codes * np.int64(largest) // codes.max()).astype(np.int32)
    wide = Latent(codes, latent.grid, latent.record)
    description, texts = latent_layer(wide, latent.grid.affine, 0)
    assert description["parts"] == (1 if largest < 2**16 else 2)
    assert np.array_equal(shown_values(description, texts)[0], codes)
