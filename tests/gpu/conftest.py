"""The device of these tests. ``CT_VAE_TEST_GPU=cpu`` runs them where there is no GPU."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The device that ``CT_VAE_TEST_GPU`` names, or the first GPU."""
    name = os.environ.get("CT_VAE_TEST_GPU") or ("cuda:0" if torch.cuda.is_available() else "")
    if not name:
        pytest.skip("there is no CUDA device")
    return torch.device(name)


@pytest.fixture
def is_cuda(gpu) -> bool:
    """False where the CPU stands in for a GPU: only what needs none is then compared."""
    return gpu.type == "cuda"
