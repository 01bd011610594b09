import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.config.codes import MOST_BITS, check_codes, codes_of
from ct_vae.config.model import ModelConfig


def parse(**numbers):
    return ModelConfig.model_validate_json(json.dumps(numbers))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"latent_type": "vq"}, ("ema", 8, 8192, 8)),
        ({"latent_type": "vq", "codebook_size": 512, "embed_dim": 3}, ("ema", 3, 512, 3)),
        ({"latent_type": "magvit"}, ("fsq", 6, 64_000, 6)),
        ({"latent_type": "vq", "quantizer": "fsq", "levels": [4, 3]}, ("fsq", 2, 12, 2)),
        ({"latent_type": "vq", "quantizer": "lfq"}, ("lfq", 16, 65_536, 16)),
        ({"latent_type": "vq", "quantizer": "lfq", "embed_dim": 5}, ("lfq", 5, 32, 5)),
        ({"latent_type": "vq", "z_channels": 3}, ("ema", 8, 8192, 3)),
    ],
)
def test_what_follows_from_the_codes_is_filled_in(numbers, expected):
    config = parse(**numbers)
    told = config.quantizer, config.embed_dim, config.codebook_size, config.z_channels
    assert told == expected
    assert not config.double_z
    assert config.reg_type == "vq"
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("size", [1, 2, 2**24, 2**25])
def test_the_size_of_a_codebook_says_nothing_about_a_model_without(size):
    assert parse(codebook_size=size).codebook_size == size


@pytest.mark.parametrize(
    "numbers",
    [
        {"codebook_size": 2},
        {"codebook_size": 2**24},
        {"quantizer": "lfq", "embed_dim": 24},
        {"quantizer": "fsq", "levels": [2]},
        {"quantizer": "fsq", "levels": [4096, 4096]},
    ],
)
def test_the_smallest_and_largest_codebooks_are_taken(numbers):
    config = parse(latent_type="vq", **numbers)
    assert config.codebook_size in (2, 2**24)


@given(levels=st.lists(st.integers(2, 20), min_size=1, max_size=5))
def test_codes_of_finite_scalars_are_all_combinations_of_levels(levels):
    width, size = codes_of("fsq", levels, None)
    assert (width, size) == (len(levels), len(list(product(*map(range, levels)))))
    check_codes("fsq", levels, width, size, normalize_codes=False)
    with pytest.raises(ValueError, match="contradicts"):
        check_codes("fsq", levels, width, size + 1, normalize_codes=False)


@given(bits=st.integers(1, MOST_BITS))
def test_codes_of_bits_are_powers_of_two(bits):
    assert codes_of("lfq", None, bits) == (bits, 2**bits)
    check_codes("lfq", None, bits, 2**bits, normalize_codes=False)


def test_too_many_bits_are_not_computed():
    assert codes_of("lfq", None, 10**9) == (10**9, 2**MOST_BITS)
    with pytest.raises(ValueError, match="at most 24 bits"):
        check_codes("lfq", None, 25, 2**25, normalize_codes=False)
