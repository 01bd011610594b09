import hashlib
import tracemalloc
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError, InputError
from ct_vae.io import read_latent, write_latent
from ct_vae.io.latent.storage import LatentForm, integers_digest, store, values_of
from ct_vae.latent import StepResponse
from tests.io._samples import latent_of, with_posterior

NAMES = {"int8": "a_latent.nii.gz", "int16": "b.nii", "float32": "c.nii.gz", "coded": "d.latz"}


def _spread(seed=0, scales=(0.1, 1.0, 5.0, 90.0), posterior=(0.003, 0.01, 0.5, 0.1)):
    """A latent whose channels are of different size and off zero."""
    rng = np.random.default_rng(seed)
    shape = (4, 5, 4, 6)
    scale = np.reshape(scales, (4, 1, 1, 1))
    array = (rng.normal(2.0, 1.0, shape) * scale).astype(np.float32)
    latent = latent_of(array=array, shape=shape[1:])
    statistics = latent.record.statistics.model_copy(update={"posterior_std": posterior})
    return replace(latent, record=latent.record.model_copy(update={"statistics": statistics}))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("posterior", [False, True])
def test_every_form_comes_back_within_its_stated_error(tmp_path, dtype, posterior):
    latent = with_posterior(_spread()) if posterior else _spread()
    written = write_latent(latent, tmp_path / NAMES[dtype], dtype)
    found = read_latent(tmp_path / NAMES[dtype])
    np.testing.assert_array_equal(found.array, written.array)
    assert found.record == written.record
    error = found.array.astype(np.float64) - latent.array
    how = found.record.quantisation
    assert how.max_abs_error == np.abs(error).max()
    assert how.rmse == pytest.approx(np.sqrt((error**2).mean()))
    if how.steps:
        half = 0.5 * np.reshape(how.steps[:4], (4, 1, 1, 1))
        assert (np.abs(error) <= half * (1 + 1e-6) + 1e-6).all()
    if posterior:
        np.testing.assert_array_equal(found.std, written.std)
        assert (found.std >= 0).all()
        if dtype != "int16":
            # int16 has one step for means and standard deviations together.
            np.testing.assert_allclose(found.std, latent.std, atol=0.12)


def test_int8_is_a_plain_nifti_of_whole_steps(tmp_path):
    latent = _spread()
    written = write_latent(latent, tmp_path / "a.nii.gz", "int8")
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.int8
    how = written.record.quantisation
    values = (np.asarray(image.dataobj).astype(np.int64) + how.origins) * how.steps
    np.testing.assert_array_equal(np.moveaxis(values, -1, 0).astype(np.float32), written.array)


@given(st.integers(0, 20), st.floats(1e-3, 50.0))
def test_int8_never_exceeds_its_range_and_uses_no_step_below_the_wanted_one(seed, step):
    latent = _spread(seed)
    stored = store(latent, "int8", step)
    assert stored.numbers.dtype == np.int8
    assert np.abs(stored.numbers.astype(int)).max() <= 127
    wanted = [step * 12**0.5 * each for each in latent.record.statistics.posterior_std]
    ranges = np.ptp(latent.array, axis=(1, 2, 3)).astype(np.float64)
    expected = np.maximum(wanted, ranges / 253)
    np.testing.assert_allclose(stored.how.steps, expected, rtol=1e-6)


def test_all_stepped_forms_give_the_same_integers_again(tmp_path):
    first = write_latent(_spread(), tmp_path / "a.latz", step=2.0)
    exact = write_latent(first, tmp_path / "b.nii.gz", "float32")
    again = write_latent(exact, tmp_path / "c.latz", step=2.0)
    a, c = first.record.quantisation, again.record.quantisation
    assert a.integers_sha256 == c.integers_sha256
    assert (a.max_abs_error, a.rmse) == (c.max_abs_error, c.rmse)
    np.testing.assert_array_equal(first.array, again.array)


def test_errors_add_up_when_a_latent_is_converted(tmp_path):
    latent = _spread()
    coarse = write_latent(latent, tmp_path / "a.latz", step=8.0)
    finer = write_latent(coarse, tmp_path / "b.nii.gz", "int8", step=3.0)
    error = finer.array.astype(np.float64) - latent.array
    how = finer.record.quantisation
    assert how.max_abs_error >= np.abs(error).max()
    # Rounding of values that are rounded already is not quite independent.
    assert how.rmse == pytest.approx(np.sqrt((error**2).mean()), rel=0.2)


def test_the_predicted_rise_follows_the_square_of_the_step(tmp_path):
    latent = latent_of(shape=(12, 12, 12))
    response = StepResponse(crop=(4, 4, 4), rmse_hu=30.0, change_hu=3.0)
    record = latent.record.model_copy(update={"step_response": response})
    latent = replace(latent, record=record)
    for step in (0.5, 1.0, 4.0):
        how = write_latent(latent, tmp_path / "a.latz", step=step).record.quantisation
        assert how.rmse_rise == pytest.approx(np.sqrt(1 + 0.01 * step**2) - 1, rel=0.05)
    assert write_latent(latent, tmp_path / "a.nii", "float32").record.quantisation.rmse_rise == 0
    plain = write_latent(latent_of(), tmp_path / "a.latz").record.quantisation
    assert plain.rmse_rise is None


def test_a_form_knows_its_latents(tmp_path):
    wishes = [
        LatentForm(),
        LatentForm("coded"),
        LatentForm("coded", step=2.0),
        LatentForm("int8"),
        LatentForm("float32"),
        LatentForm(layout="vector"),
        LatentForm(posterior=True),
    ]
    for k, form in enumerate(wishes):
        latent = with_posterior(latent_of()) if form.posterior else latent_of()
        name = tmp_path / ("a.latz" if form.dtype == "coded" else "a.nii.gz")
        record = write_latent(latent, name, form.dtype, form.layout, form.step).record
        assert [other.is_that_of(record) for other in wishes] == [
            j == k for j in range(len(wishes))
        ]


@pytest.mark.parametrize(
    ("dtype", "name", "layout", "step", "message"),
    [
        ("coded", "a.nii.gz", "plain", None, "coded latents, and no others"),
        ("int16", "a.latz", "plain", None, "coded latents, and no others"),
        ("int16", "a.nii.gz", "plain", 2.0, "int16 has none"),
        ("float32", "a.nii.gz", "plain", 2.0, "float32 has none"),
        ("int4", "a.nii.gz", "plain", None, "int8, int16, float32, coded"),
        ("coded", "a.latz", "vector", None, "layout vector is float32"),
        ("int8", "a_emb.nii.gz", "maisi", None, "layout maisi is float32"),
        ("coded", "a.latz", "plain", 0.0, "positive number"),
        ("int8", "a.nii", "plain", float("nan"), "positive number"),
    ],
)
def test_forms_that_do_not_exist_are_refused(tmp_path, dtype, name, layout, step, message):
    with pytest.raises(ConfigError, match=message):
        write_latent(latent_of(), tmp_path / name, dtype, layout, step)
    assert not list(tmp_path.iterdir())


def test_standard_deviations_are_stored_losslessly_unless_told(tmp_path):
    latent = with_posterior(latent_of())
    written = write_latent(latent, tmp_path / "a.nii.gz")
    assert written.record.quantisation.dtype == LatentForm(posterior=True).storage == "float32"
    np.testing.assert_array_equal(written.std, latent.std)


def test_codes_are_not_coded(tmp_path):
    with pytest.raises(ConfigError, match="codes"):
        write_latent(latent_of("codes"), tmp_path / "a.latz")


def test_numbers_are_checked_against_their_digest_and_channels():
    stored = store(_spread(), "coded", None)
    changed = stored.numbers.copy()
    changed[2, 1, 1, 1] += 1
    with pytest.raises(InputError, match="integers that are not those of its record"):
        values_of(changed, stored.how)
    with pytest.raises(InputError, match="3 channels, its record says 4"):
        values_of(stored.numbers[:3], stored.how)


def test_the_digest_does_not_depend_on_memory_or_byte_order():
    integers = np.arange(24, dtype=np.int32).reshape(1, 2, 3, 4)
    expected = hashlib.sha256(integers.astype("<i4").tobytes()).hexdigest()
    for same in (integers, np.asfortranarray(integers), integers.astype(">i4")):
        assert integers_digest(same, (0,)) == expected
    assert integers_digest((integers - 9).astype(np.int8), (9,)) == expected


@pytest.mark.parametrize("dtype", ["coded", "int8", "int16"])
def test_memory_of_writing_and_reading_is_that_of_the_latent(tmp_path, dtype):
    rng = np.random.default_rng(0)
    array = rng.normal(0, 1, (4, 60, 60, 50)).astype(np.float32)
    latent = latent_of(array=array, shape=array.shape[1:])
    path = tmp_path / ("a.latz" if dtype == "coded" else "a.nii.gz")
    for call in (lambda: write_latent(latent, path, dtype), lambda: read_latent(path)):
        tracemalloc.start()
        try:
            found = call()
            # The result, the stored numbers, the file and what the coder needs.
            assert tracemalloc.get_traced_memory()[1] < 2.6 * array.nbytes + 1e6
        finally:
            tracemalloc.stop()
        assert found.array.shape == array.shape
