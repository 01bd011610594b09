import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ct_vae.config.preprocess import PreprocessConfig
from tests._strategies import ALL_AXCODES


@given(codes=st.text("RLAPSI", min_size=3, max_size=3))
def test_orientations_name_each_axis_once(codes):
    if codes in ALL_AXCODES:
        assert PreprocessConfig(axcodes=codes).axcodes == codes
    else:
        with pytest.raises(ValidationError, match="must name one of R/L, A/P and S/I each"):
            PreprocessConfig(axcodes=codes)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"axcodes": "RA"}, "should match pattern"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "must be positive"),
        ({"window_hu": (100.0, 100.0)}, "window_hu must run from low to high"),
        ({"model_range": (1.0, -1.0)}, "model_range must run from low to high"),
    ],
)
def test_impossible_values_are_refused_with_their_key(keys, words):
    with pytest.raises(ValidationError, match=words):
        PreprocessConfig(**keys)
