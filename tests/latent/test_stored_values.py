import pytest
from pydantic import ValidationError

from ct_vae.latent import QuantizationRecord, StepResponse


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "int8"},
        {"dtype": "coded", "steps": (1.0,)},
        {"dtype": "int16", "steps": (1.0,), "origins": (0,)},
        {"dtype": "coded", "steps": (1.0, 2.0), "origins": (0,)},
        {"dtype": "coded", "steps": (0.0,), "origins": (0,)},
    ],
)
def test_steps_and_origins_fit_the_type(change):
    with pytest.raises(ValidationError, match="steps"):
        QuantizationRecord(**change)


@pytest.mark.parametrize(("ratio", "rise"), [(0.0, 0.0), (1.0, 0.25), (28 / 3, 1.5)])
def test_squares_of_errors_add_up(ratio, rise):
    response = StepResponse(crop=(12, 12, 12), rmse_hu=20.0, change_hu=15.0)
    assert response.rmse_rise(ratio) == pytest.approx(rise)


def test_no_rise_is_predicted_for_an_exact_reconstruction():
    response = StepResponse(crop=(1, 1, 1), rmse_hu=0.0, change_hu=1.0)
    assert response.rmse_rise(1.0) is None
