"""MONAI's latent inferer and diffusion network run on our models unchanged."""

import pytest
import torch
from monai.inferers import LatentDiffusionInferer
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler

from tests.models._family import make_member
from tests.models._small import noise

MEMBER = pytest.mark.parametrize("member", ["kl", "vq-ema", "magvit"])


def diffusion(channels: int) -> DiffusionModelUNet:
    torch.manual_seed(0)
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=channels,
        num_res_blocks=1,
        channels=(8, 8),
        attention_levels=(False, False),
        norm_num_groups=4,
    )


@MEMBER
def test_a_diffusion_model_trains_a_step_and_samples(member):
    model = make_member(member)
    unet = diffusion(model.latent_channels)
    inferer = LatentDiffusionInferer(DDPMScheduler(num_train_timesteps=4), scale_factor=2.0)
    optimizer = torch.optim.SGD(unet.parameters(), lr=1e-3)
    image, drawn = noise(2, 1, 8, 8, 8), noise(2, model.latent_channels, 4, 4, 4)
    before = [p.clone() for p in unet.parameters()]
    predicted = inferer(
        inputs=image,
        autoencoder_model=model,
        diffusion_model=unet,
        noise=drawn,
        timesteps=torch.tensor([0, 3]),
    )
    assert predicted.shape == drawn.shape
    (predicted - drawn).square().mean().backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, unet.parameters(), strict=True))
    sample = inferer.sample(
        input_noise=drawn, autoencoder_model=model, diffusion_model=unet.eval(), verbose=False
    )
    assert sample.shape == image.shape
    assert torch.isfinite(sample).all()


def test_means_are_given_unless_samples_are_wanted():
    mean, sample = make_member("kl"), make_member("kl", stage_2_inputs="sample")
    x = noise(1, 1, 4, 4, 4)
    posterior = mean.posterior(x)
    assert torch.equal(mean.encode_stage_2_inputs(x), posterior.mean)
    torch.manual_seed(5)
    drawn = sample.encode_stage_2_inputs(x)
    torch.manual_seed(5)
    assert torch.equal(drawn, posterior.sample())
    assert not torch.equal(drawn, posterior.mean)
