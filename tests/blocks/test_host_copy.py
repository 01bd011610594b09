from unittest.mock import Mock

import torch

from ct_vae.blocks.host_copy import to_device


def test_on_the_host_a_tensor_stays_the_same():
    values = torch.arange(6.0)
    assert to_device(values, torch.device("cpu")) is values


def test_a_gpu_copies_from_pinned_memory_without_the_host():
    values, device = Mock(), torch.device("cuda:1")
    copied = to_device(values, device)
    assert copied is values.pin_memory.return_value.to.return_value
    values.pin_memory.return_value.to.assert_called_once_with(device, non_blocking=True)
