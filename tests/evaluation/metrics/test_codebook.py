import numpy as np
import pytest

from ct_vae.evaluation.metrics.codebook import CodebookUse
from tests._small import SMALL_CODES, ct_volume, small_codec


def test_use_is_that_of_all_codes_of_all_cases():
    codec = small_codec(base=SMALL_CODES["vq"])
    use = CodebookUse(64)
    empty = use.as_dict()
    assert (empty["codes_used"], empty["code_usage"], empty["code_perplexity"]) == (0, 0, None)
    latents = [codec.encode(ct_volume(seed=seed)) for seed in (0, 1)]
    for latent in latents:
        use.add(latent)
    codes = np.concatenate([latent.array.ravel() for latent in latents])
    values, counts = np.unique(codes, return_counts=True)
    shares = counts / counts.sum()
    found = use.as_dict()
    assert found["codes_used"] == len(values)
    assert found["code_usage"] == len(values) / 64
    assert found["code_perplexity"] == pytest.approx(2 ** -(shares * np.log2(shares)).sum())
