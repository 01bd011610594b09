import pytest
import torch

from ct_vae.bundle.network import part_of, portable
from ct_vae.config.preprocess import PreprocessConfig
from tests._small import SMALL_CODES, SMALL_MODEL, small_model

KINDS = {"kl": SMALL_MODEL, **SMALL_CODES}


STEPS = PreprocessConfig()


@pytest.mark.parametrize("kind", KINDS)
def test_the_portable_copy_gives_the_same_and_leaves_the_model_alone(kind):
    network = part_of("reconstruct", small_model(base=KINDS[kind]), STEPS)
    names = list(network.state_dict())
    image = network.example((2, 3, 2))
    with torch.no_grad():
        assert (portable(network)(image) - network(image)).abs().max() < 0.05
    assert list(network.state_dict()) == names
