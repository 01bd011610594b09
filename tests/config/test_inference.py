import pytest
from pydantic import ValidationError

from ct_vae.config.inference import InferenceConfig


def test_the_former_value_auto_means_exact():
    assert InferenceConfig(tiling="auto") == InferenceConfig(tiling="exact") == InferenceConfig()


@pytest.mark.parametrize(
    "keys", [{"tile": 0}, {"overlap": 1.0}, {"max_memory_gb": 0.0}, {"tiling": "slabs"}]
)
def test_values_out_of_range_are_refused(keys):
    with pytest.raises(ValidationError, match=next(iter(keys))):
        InferenceConfig(**keys)
