"""The perceptual network with random weights, in the forms in which its files come."""

import torch

from ct_vae.losses.vgg import VGG16
from tests.models._small import noise


def random_vgg16(seed: int = 0) -> VGG16:
    """Weights that keep the spread of features, some of them dead on gray images."""
    network = VGG16()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.features.named_parameters():
        spread = 0.1 if name.endswith("bias") else (2 / parameter[0].numel()) ** 0.5
        parameter.normal_(std=spread, generator=generator)
    return network


def torchvision_state(network: VGG16, lin: bool = False) -> dict[str, torch.Tensor]:
    """As torchvision names it, classifier included; with LPIPS' layers on request."""
    state = {f"features.{name}": value for name, value in network.features.state_dict().items()}
    state["classifier.0.weight"] = noise(3, 2)
    if lin:
        widths = [len(weights) for weights in network.lin]
        state |= {
            f"lin{i}.model.1.weight": noise(1, n, 1, 1, seed=i).abs() for i, n in enumerate(widths)
        }
    return state
