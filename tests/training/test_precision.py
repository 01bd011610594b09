import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.training.precision import Precision, choose_precision

CPU = torch.device("cpu")


def test_a_cpu_computes_in_float32_unless_told(monkeypatch):
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    assert choose_precision("auto", CPU) == Precision("fp32", CPU)
    assert choose_precision("bf16", CPU) == Precision("bf16", CPU)
    with pytest.raises(ConfigError, match="fp16 is for GPUs"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_networks_compute_in_what_was_chosen(name, dtype):
    a = torch.ones(2, 2)
    with Precision(name, CPU).autocast():
        assert (a @ a).dtype == dtype
    assert Precision(name, CPU).scaler().is_enabled() == (name == "fp16")


@pytest.mark.parametrize(("name", "kind"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_a_step_sets_up_cudnn_and_leaves_it_as_it_was(name, kind):
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn

    def state():
        return cuda.fp32_precision, cudnn.conv.fp32_precision, cudnn.benchmark

    before = state()
    with Precision(name, CPU).backend():
        assert state() == (kind, kind, True)
    assert state() == before


def test_tensorfloat_is_for_gpus():
    with pytest.raises(ConfigError, match="tf32 is for GPUs"):
        choose_precision("tf32", CPU)
    gpu = torch.device("cuda")
    assert choose_precision("tf32", gpu) == Precision("tf32", gpu)
