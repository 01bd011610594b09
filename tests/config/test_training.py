import torch

from ct_vae.config.training import TrainingConfig


def test_the_older_key_is_turned_into_a_half_life():
    assert TrainingConfig(ema_decay=0.5, batch_size=4).ema_halflife == 4
    assert TrainingConfig(ema_decay=0.0).ema_halflife == 0
    assert TrainingConfig(ema_samples=300).ema_halflife == 300
    assert torch.isclose(torch.tensor(0.98 ** (137 / 4)), torch.tensor(0.5), atol=1e-2)
    assert TrainingConfig(ema_decay=0.98, batch_size=4).ema_halflife == 137
