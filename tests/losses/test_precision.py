import torch

from ct_vae.losses.precision import to_float32_or_higher


def test_wide_is_float32_or_more():
    kinds = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    assert [to_float32_or_higher(torch.zeros(1, dtype=kind)).dtype for kind in kinds] == [
        torch.float32,
        torch.float32,
        torch.float32,
        torch.float64,
    ]
