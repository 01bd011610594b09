import pytest
import torch

from ct_vae.errors import WeightsError
from ct_vae.training.initial import initial_model
from tests._small import SMALL_MODEL, small_model


def same(a, b):
    return all(torch.equal(x, b.state_dict()[k]) for k, x in a.state_dict().items())


def test_the_seed_decides_and_the_callers_random_state_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    models = [initial_model(SMALL_MODEL, seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(2), expected)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_residual_blocks_start_as_the_way_across():
    model = initial_model(SMALL_MODEL, 0)
    x = torch.randn(1, 4, 4, 4, 4)
    assert torch.equal(model.encoder.down[0].block[0](x), x)
    widening = model.encoder.down[1].block[0]
    assert torch.equal(widening(x), widening.nin_shortcut(x))


def test_the_posterior_starts_narrow_and_its_means_do_not():
    model = initial_model(SMALL_MODEL, 0)
    posterior = model.posterior(torch.randn(1, 1, 16, 16, 16))
    assert 0.02 < posterior.std.min() < posterior.std.max() < 0.15
    plain = small_model(0)
    rows = slice(0, model.latent_channels)
    assert torch.equal(model.quant_conv.weight[rows], plain.quant_conv.weight[rows])


def test_every_parameter_can_still_learn():
    """Zeros at the end of a block pass no gradient to what lies before them, for one step only."""
    model = initial_model(SMALL_MODEL, 0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        x = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
        reconstruction, posterior = model(x)
        ((reconstruction - x).square().mean() + posterior.kl_elements().mean()).backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_models_of_several_rates_grow_from_one_trunk(tmp_path):
    """Blocks are those of the other model; the latent and the last convolutions start anew."""
    from safetensors.torch import save_file

    save_file(small_model(7).state_dict(), tmp_path / "model.safetensors")
    other = SMALL_MODEL.model_copy(update={"embed_dim": 3, "z_channels": 3})
    grown, anew = initial_model(other, 0, tmp_path), initial_model(other, 0)
    trunk, fresh = small_model(7).state_dict(), anew.state_dict()
    for name, tensor in grown.state_dict().items():
        taken = name.startswith(("encoder.conv_in", "encoder.down", "encoder.mid", "decoder.mid"))
        expected = trunk if taken or name.startswith("decoder.up") else fresh
        assert torch.equal(tensor, expected[name]), name
    wider = SMALL_MODEL.model_copy(update={"down_channels": (8, 8, 8)})
    with pytest.raises(WeightsError, match=r"tensors of the blocks are missing or have another"):
        initial_model(wider, 0, tmp_path)


def test_named_weights_are_taken_as_they_are(tmp_path):
    from safetensors.torch import save_file

    save_file(small_model(7).state_dict(), tmp_path / "model.safetensors")
    config = SMALL_MODEL.model_copy(update={"ckpt_path": str(tmp_path)})
    assert same(initial_model(config, 0), small_model(7))
