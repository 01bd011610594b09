"""Number formats: what each computes in, what is refused, and what is left as it was."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from ct_vae.errors import ConfigError
from ct_vae.inference import precision
from ct_vae.inference.precision import check_precision, computing_in
from ct_vae.training.precision import choose_precision
from ct_vae.volume import DECODING
from tests._small import ct_volume, small_codec

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def with_bf16(monkeypatch):
    """A processor with the instructions, whatever runs this."""
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)


def settings():
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.mark.parametrize("fails", [False, True])
def test_tensorfloat_is_off_in_fp32_and_as_before_afterwards(fails):
    before = settings()
    try:
        with computing_in("fp32", CPU):
            assert settings() == ("ieee", "ieee")
            assert not fails or 1 / 0
    except ZeroDivisionError:
        pass
    assert settings() == before


def test_tensorfloat_is_for_gpus():
    with pytest.raises(ConfigError, match="tf32 is for GPUs"):
        check_precision("tf32", CPU)
    with pytest.raises(ConfigError, match="precision is fp32, tf32, bf16, got 'fp8'"):
        check_precision("fp8", CPU)


def test_bf16_computes_under_autocast(with_bf16):
    with computing_in("bf16", CPU):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("choose", [check_precision, choose_precision])
def test_bf16_is_refused_without_the_instructions(choose, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ConfigError, match="100 times slower"):
        choose("bf16", CPU)


def test_a_broken_convolution_is_refused(with_bf16, monkeypatch):
    precision._check_convolution.cache_clear()
    real = functional.conv3d

    def broken(x, *args, **kwargs):
        result = real(x, *args, **kwargs)
        return result.roll(1, -1) if x.dtype == torch.bfloat16 else result

    monkeypatch.setattr(functional, "conv3d", broken)
    with pytest.raises(ConfigError, match="its library is broken"):
        check_precision("bf16", CPU)
    monkeypatch.undo()
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    check_precision("bf16", CPU)


def test_a_decoded_volume_tells_its_precision_and_model(with_bf16):
    codec = small_codec()
    latent = codec.encode(ct_volume())
    exact = codec.decode(latent)
    codec.precision = "bf16"
    coarse = codec.decode(latent, "blend")
    assert exact.source[DECODING]["precision"] == "fp32"
    assert exact.source[DECODING]["tiling"] == "exact"
    assert exact.source[DECODING]["model_sha256"] == codec.identity.sha256
    assert coarse.source[DECODING]["precision"] == "bf16"
    assert coarse.source[DECODING]["tiling"].startswith("blend ")


def test_a_latent_tells_its_precision_and_is_not_kept_for_another(with_bf16):
    codec, volume = small_codec(), ct_volume()
    exact = codec.encode(volume)
    codec.precision = "bf16"
    coarse = codec.encode(volume)
    assert (exact.record.precision, coarse.record.precision) == ("fp32", "bf16")
    assert not coarse.record.warnings
    error = np.linalg.norm(coarse.array - exact.array) / np.linalg.norm(exact.array)
    assert 1e-5 < error < 0.1
    assert codec.repeats(coarse.record, None)
    assert not codec.repeats(exact.record, None)
