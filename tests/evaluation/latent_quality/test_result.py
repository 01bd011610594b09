import json
from dataclasses import replace

import pytest

from ct_vae.evaluation.latent_quality.result import Equivariance
from tests.evaluation.latent_quality._quality import quality


def test_the_largest_correlation_is_off_the_diagonal_and_has_no_sign():
    matrix = ((1.0, 0.2, -0.7), (0.2, 1.0, 0.1), (-0.7, 0.1, 1.0))
    assert replace(quality(3), correlation=matrix).largest_correlation == pytest.approx(0.7)
    assert quality(1).largest_correlation == 0


def test_all_measurements_are_json_with_the_largest_correlation():
    found = json.loads(json.dumps(quality(2).as_dict(), allow_nan=False))
    assert found["largest_correlation"] == 0
    assert len(found["channels"]) == 2
    assert found["equivariance"][0]["transform"] == "flip x"


def test_the_line_has_the_largest_flip_error_and_noise_only_if_there_is_some():
    flips = (
        Equivariance("flip x", 0.2, 3.0, 2.0),
        Equivariance("flip y", 0.4, 3.0, 2.0),
        Equivariance("rotation", 9.0, 3.0, 2.0),
    )
    plain = replace(quality(2), equivariance=flips)
    assert "flip error 0.40" in plain.line()
    assert "noise" not in plain.line()
    shares = zip(plain.channels, (0.01, 0.05), strict=True)
    noisy = tuple(replace(channel, noise_share=share) for channel, share in shares)
    assert "posterior noise at most 5 %" in replace(plain, channels=noisy).line()
