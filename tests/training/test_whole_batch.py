import pytest
import torch

from ct_vae.config.model import ModelConfig
from tests._small import SMALL_CODES, SMALL_MODEL, small_model
from tests.training.test_step import ADVERSARIAL, batch, make_step, weights

_SHAPE = {"down_channels", "num_res_blocks", "mid_attn", "norm_groups"}
LOOKUP_FREE = ModelConfig(
    **SMALL_MODEL.model_dump(include=_SHAPE), latent_type="magvit", quantizer="lfq", embed_dim=6
)
KINDS = {
    "adaptive": (SMALL_MODEL, ADVERSARIAL),
    "codebook": (SMALL_CODES["vq"], {}),
    "codebook and adaptive": (SMALL_CODES["vq"], ADVERSARIAL),
    "lookup-free": (LOOKUP_FREE, {"entropy_weight": 0.5}),
}


def trained(kind, micro_batch, steps=3):
    """Weights, buffers and losses after some steps with batches of four, in float64."""
    base, changes = KINDS[kind]
    model = small_model(base=base).double().train()
    step = make_step(model, micro_batch=micro_batch, grad_clip=None, **changes)
    if step.discriminator is not None:
        step.discriminator.module.double()
    told = [step(batch(4, seed=n).double(), 4 * n, 0.01) for n in range(steps)]
    state = weights(model)
    if step.discriminator is not None:
        state |= {f"adversary.{k}": v for k, v in weights(step.discriminator.module).items()}
    return state, told


@pytest.mark.parametrize("micro_batch", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_is_split_trains_as_one_that_is_not(kind, micro_batch):
    """Codebook, entropy and adaptive weight are functions of the batch, whatever its parts are."""
    whole, told = trained(kind, 4)
    parts, same = trained(kind, micro_batch)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-9, atol=1e-12, msg=name)
    for a, b in zip(told, same, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5)
        assert b.weights == pytest.approx(a.weights, rel=1e-5)


def test_looking_at_the_batch_leaves_the_codebook_and_what_is_trained_as_they_were():
    model = small_model(base=SMALL_CODES["vq"]).train()
    step = make_step(model, micro_batch=1, **ADVERSARIAL)
    step(batch(4), 0, 0.01)
    assert model.quantizer.updates == 1
    assert model.quantizer.training
    assert all(parameter.requires_grad for parameter in model.parameters())
