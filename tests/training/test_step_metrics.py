import pytest
import torch
from torch import distributed

from ct_vae.training.distributed import DistributedContext
from ct_vae.training.step_metrics import MetricAccumulator


def test_micro_batches_count_by_their_samples():
    metrics = MetricAccumulator(4)
    metrics.add(3, loss={"total": torch.tensor(1.0)}, weights={"kl": 0.5})
    metrics.add(1, loss={"total": torch.tensor(5.0)}, weights={"kl": 0.5})
    assert metrics.means(DistributedContext()) == {"loss": {"total": 2.0}, "weights": {"kl": 0.5}}


def test_means_are_those_of_all_ranks(monkeypatch):
    """The other rank tells of 3 where this one tells of 1, and of 6 where this one tells of 2."""
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(4))
    metrics = MetricAccumulator(1)
    metrics.add(1, loss={"total": torch.tensor(1.0)}, image={"mae": torch.tensor(2.0)})
    told = metrics.means(DistributedContext(0, 2))
    assert told["loss"]["total"] == pytest.approx(2)
    assert told["image"]["mae"] == pytest.approx(4)
