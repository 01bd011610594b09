import numpy as np
import pytest

from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.training.validation.result import ValidationResult, summarize


def result(values=(), counts=None, moments=None) -> ValidationResult:
    return ValidationResult(dict(values), None, counts, moments)


def test_a_summary_averages_over_cases_in_any_order():
    cases = [result({"rmse_hu_full": v, "psnr_db_full": v / 3}) for v in (0.1, 0.2, 0.3)]
    cases.append(result({"rmse_hu_full": 0.0}))
    told = summarize(cases)
    assert told == summarize(cases[::-1])
    assert told["val_rmse_hu_full"] == pytest.approx(0.15)
    # A perfect reconstruction has no PSNR.
    assert told["val_psnr_db_full"] == pytest.approx(0.2 / 3)


def test_nothing_is_told_of_no_case():
    assert summarize([]) == {}
    empty = LatentMoments.of(np.zeros((2, 0)))
    assert summarize([result(moments=empty), result(counts=np.zeros(5, np.int64))]) == {}


def test_channels_are_active_above_a_variance_of_a_hundredth():
    rng = np.random.default_rng(0)
    spread = np.array([[0.09], [0.11], [2.0]])
    values = spread * np.sign(rng.normal(size=(3, 1000)))
    halves = [result(moments=LatentMoments.of(part)) for part in np.split(values, 2, axis=1)]
    told = summarize(halves)
    assert told["val_active_channels"] == 2
    assert told["val_latent_std_2"] == pytest.approx(values[2].std())
    assert [k for k in told if "latent_std" in k] == [f"val_latent_std_{i}" for i in range(3)]


def test_codes_of_all_cases_are_counted_together():
    """Two cases of one code each use two codes, and evenly."""
    counts = [np.array([10, 0, 0, 0]), np.array([0, 10, 0, 0])]
    told = summarize([result(counts=c) for c in counts])
    assert told["val_code_usage"] == 0.5
    assert told["val_perplexity"] == pytest.approx(2)
    assert told["val_codes_counted"] == 20
