import pytest
import torch

from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.errors import CtVaeError
from ct_vae.losses.build import build_objective
from ct_vae.losses.objective import Objective
from ct_vae.losses.terms import LossTerms
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.ema import AveragedWeights
from ct_vae.training.latent_changes import LatentChanges, transform_pair
from ct_vae.training.optimized_network import OptimizedNetwork
from ct_vae.training.precision import Precision
from ct_vae.training.seeding import posterior_noise
from ct_vae.training.step import StepSettings, TrainStep
from ct_vae.training.step_metrics import UnreadStep
from tests._small import SMALL_CODES, SMALL_MODEL, small_model


def batch(count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, 8, generator=generator) * 2 - 1


ALONE = DistributedContext()
CPU = torch.device("cpu")
FULL = Precision("fp32", CPU)


def settings_of(**training):
    tree = {"kl_weight": 1e-3, "patch_size": (8, 8, 8), "samples": 100, **training}
    return RunConfig(model=SMALL_MODEL, training=TrainingConfig(**tree))


def optimized_network(module, grad_clip=None, precision=FULL, make=torch.optim.SGD, world=ALONE):
    return OptimizedNetwork(module, make(module.parameters(), lr=1e-3), grad_clip, precision, world)


def make_step(
    model, seed=0, grad_clip=1.0, micro_batch=100, precision=FULL, world=ALONE, **training
):
    objective = build_objective(settings_of(**training), model.output_activation, CPU)
    changes = LatentChanges(equivariance=training.get("equivariance_weight", 0) > 0)
    generator = optimized_network(model, grad_clip, precision, world=world)
    other = objective.adversary
    return TrainStep(
        generator,
        objective,
        StepSettings(seed, micro_batch, changes=changes),
        precision,
        world,
        None if other is None else optimized_network(other, grad_clip, precision, world=world),
    )


def weights(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_step_is_the_gradient_of_the_objective():
    model, twin = small_model(), small_model()
    values = make_step(model, grad_clip=None)(batch(), 0, 0.1)
    posterior = twin.encode(batch())
    noise = posterior_noise(torch.empty(2, 4, 2, 2, 2), 0, 0)
    reconstruction = twin.decode(posterior.mean + posterior.std * noise)
    loss = (reconstruction - batch()).abs().mean() + 1e-3 * posterior.kl_elements().mean()
    loss.backward()
    assert values.loss == pytest.approx(loss.item())
    assert values.mse == pytest.approx((reconstruction - batch()).square().mean().item())
    assert values.latent_std == pytest.approx(posterior.mean.std(correction=0).item())
    for name, parameter in twin.named_parameters():
        stepped = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(dict(model.named_parameters())[name].detach(), stepped)


def test_the_equivariance_loss_is_that_of_the_transformed_latent():
    model, twin = small_model(), small_model()
    weight = 0.5
    step = make_step(model, grad_clip=None, equivariance_weight=weight, kl_weight=0)
    values = step(batch(), 0, 0.1)
    posterior = twin.encode(batch())
    noise = posterior_noise(torch.empty(2, 4, 2, 2, 2), 0, 0)
    latent = posterior.mean + posterior.std * noise
    moved, targets = transform_pair(latent, batch(), 0, 0)
    assert moved.shape == (2, 4, 1, 1, 1)
    loss = (twin.decode(latent) - batch()).abs().mean()
    loss = loss + weight * (twin.decode(moved) - targets).abs().mean()
    loss.backward()
    assert values.loss == pytest.approx(loss.item())
    for name, parameter in twin.named_parameters():
        stepped = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(dict(model.named_parameters())[name].detach(), stepped)


def test_the_same_place_and_seed_give_the_same_step_and_others_do_not():
    results = {}
    for name, seed, seen in [("a", 0, 4), ("same", 0, 4), ("seed", 1, 4), ("place", 0, 6)]:
        model = small_model()
        make_step(model, seed)(batch(), seen, 1e-3)
        results[name] = weights(model)
    assert same(results["a"], results["same"])
    assert not same(results["a"], results["seed"])
    assert not same(results["a"], results["place"])


def test_clipping_bounds_the_gradient_and_reports_its_norm():
    model, free = small_model(), small_model()
    before = weights(model)
    clipped = make_step(model, grad_clip=1e-3)(batch(), 0, 1.0)
    unclipped = make_step(free, grad_clip=None)(batch(), 0, 1.0)
    assert clipped.grad_norm == pytest.approx(unclipped.grad_norm)
    moved = sum((before[k] - v).square().sum() for k, v in weights(model).items()) ** 0.5
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    model = small_model()
    step = make_step(model)
    before = weights(model)
    assert step(batch() * float("nan"), 0, 1e-3) is None
    assert step.skipped == 1
    assert same(before, weights(model))
    assert step(batch(), 2, 1e-3) is not None


def test_ten_in_a_row_stop_the_run():
    step = make_step(small_model())
    bad = batch() * float("inf")
    for _ in range(9):
        assert step(bad, 0, 1e-3) is None
    with pytest.raises(CtVaeError, match="10 steps in a row were not finite") as caught:
        step(bad, 18, 1e-3)
    assert "lower training.lr" in caught.value.hint


def test_a_good_step_ends_a_row_of_bad_ones():
    step = make_step(small_model())
    for _ in range(2):
        for _ in range(9):
            assert step(batch() * float("inf"), 0, 1e-3) is None
        assert step(batch(), 0, 1e-3) is not None
    assert (step.skipped, step.skipped_in_a_row) == (18, 0)


@pytest.mark.parametrize("where", ["loss", "gradient", "discriminator"])
def test_whatever_is_not_finite_leaves_both_sides_as_they_were(where, monkeypatch):
    """The loss alone, the autoencoder's gradient alone, or the other side's alone."""
    step = make_step(small_model(), **ADVERSARIAL)
    model, judge = step.generator.module, step.discriminator.module
    if where == "loss":
        finite = Objective.__call__

        def endless(objective, *args):
            terms = finite(objective, *args)
            return LossTerms(terms.total + torch.inf, terms.values, terms.weights)

        monkeypatch.setattr(Objective, "__call__", endless)
    else:
        network = model if where == "gradient" else judge
        next(network.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    before = weights(model), weights(judge)
    assert step(batch(), 0, 0.1) is None
    assert same(before[0], weights(model))
    assert same(before[1], weights(judge))


def test_a_rank_draws_noise_for_its_own_samples(monkeypatch):
    """The second rank's first step, with another rank that finds the same."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    results = []
    for world, seen in ((DistributedContext(1, 2), 0), (DistributedContext(), 2)):
        model = small_model()
        step = make_step(model, grad_clip=None, world=world)
        results.append((step(batch(), seen, 0.1).loss, weights(model)))
    assert results[0][0] == results[1][0]
    assert same(results[0][1], results[1][1])


def test_ranks_do_not_take_smaller_micro_batches_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    model = small_model()

    def no_memory(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.encoder, "forward", no_memory)
    with pytest.raises(CtVaeError, match=r"does not hold 2 sample"):
        make_step(model, world=DistributedContext(0, 2))(batch(), 0, 0.1)


ADVERSARIAL = {
    "adversarial_weight": 0.1,
    "adversarial_start_samples": 0,
    "adversarial_ramp_samples": 0,
    "discriminator_ch": 4,
    "discriminator_levels": 2,
    "r1_weight": 1.0,
    "r1_every": 1,
    "lecam_weight": 0.1,
    "feature_matching_weight": 0.1,
}


def test_each_side_learns_from_its_own_gradient_alone():
    """With the other side's optimizer stopped, the other side does not move."""
    for still in ("generator", "discriminator"):
        step = make_step(small_model(), **ADVERSARIAL)
        sides = {"generator": step.generator, "discriminator": step.discriminator}
        sides[still].optimizer.step = lambda *_, **__: None
        before = {name: weights(side.module) for name, side in sides.items()}
        parameters = {n: dict(s.module.named_parameters()) for n, s in sides.items()}
        assert step(batch(), 0, 0.1).discriminator.keys() >= {"d_real", "d_fake", "r1", "lecam"}
        for name in sides:
            moved = [k for k, v in parameters[name].items() if not torch.equal(v, before[name][k])]
            assert bool(moved) == (name != still)


def test_what_the_discriminator_learns_is_not_in_the_generators_gradient():
    """The generator's gradient is that of its own terms: the same whether the other learns."""
    steps = [make_step(small_model(), grad_clip=None, **ADVERSARIAL) for _ in range(2)]
    steps[1].discriminator.begin = lambda _: steps[1].discriminator.optimizer.zero_grad()
    steps[1].discriminator.add = lambda _: None
    for step in steps:
        step(batch(), 0, 0.1)
    first, second = (weights(step.generator.module) for step in steps)
    assert same(first, second)


def test_an_adversary_of_weight_0_changes_nothing():
    results = []
    for changes in ({}, {**ADVERSARIAL, "adversarial_weight": 0.0}):
        model = small_model()
        step = make_step(model, **changes)
        values = [step(batch(seed=i), 2 * i, 0.1) for i in range(3)]
        results.append((weights(model), [v.loss for v in values]))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_add_up_to_the_batch(micro_batch):
    """Without terms that look at a batch as a whole, only rounding differs."""
    changes = {**ADVERSARIAL, "adversarial_adaptive": False, "lecam_weight": 0.0}
    results = []
    for size in (4, micro_batch):
        model = small_model()
        step = make_step(model, micro_batch=size, grad_clip=None, **changes)
        values = step(batch(4), 0, 0.1)
        results.append((weights(model), weights(step.discriminator.module), values))
    for whole, parts in zip(results[0][:2], results[1][:2], strict=True):
        for name in whole:
            torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6)
    assert results[1][2].loss == pytest.approx(results[0][2].loss, rel=1e-5)
    assert results[1][2].mae == pytest.approx(results[0][2].mae, rel=1e-5)


def test_a_step_that_is_not_finite_leaves_codes_and_adversary_as_they_were():
    model = small_model(base=SMALL_CODES["vq"]).train()
    step = make_step(model, **ADVERSARIAL)
    assert step(batch(), 0, 1e-3) is not None
    before = weights(model), weights(step.discriminator.module)
    bad = batch()
    bad[0, 0, 0, 0, 0] = float("nan")
    assert step(bad, 2, 1e-3) is None
    assert same(before[0], weights(model))
    assert same(before[1], weights(step.discriminator.module))


def test_out_of_memory_halves_the_micro_batch_and_changes_no_result(monkeypatch):
    """The error that a GPU would raise, raised for more than one sample at once."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    whole, model = small_model(base=SMALL_CODES["vq"]), small_model(base=SMALL_CODES["vq"])
    for each in (whole, model):
        each.train()
        each.quantizer.initialised.fill_(True)
    reference = make_step(whole, micro_batch=1)
    reference(batch(4), 0, 0.1)
    step = make_step(model)
    encode = model.encoder.forward

    def small_memory(x):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(x)

    monkeypatch.setattr(model.encoder, "forward", small_memory)
    assert step(batch(4), 0, 0.1) is not None
    assert step.micro_batch == 1
    assert len(step.notes) == 2
    assert "2 samples at once, not 4" in step.notes[0]
    assert same(weights(whole), weights(model))


def test_one_sample_that_does_not_fit_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    model = small_model()

    def no_memory(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.encoder, "forward", no_memory)
    with pytest.raises(CtVaeError, match=r"does not hold 1 sample.*micro_batch_size"):
        make_step(model)(batch(), 0, 0.1)


def test_bf16_trains_with_weights_and_losses_in_float32():
    model = small_model().train()
    step = make_step(model, precision=Precision("bf16", CPU), **ADVERSARIAL)
    seen = []
    model.encoder.conv_in.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    # On maps of a few voxels PyTorch's gradient of a bfloat16 convolution reads beyond them.
    image = batch()[..., :1, :1, :1].repeat(1, 1, 32, 32, 32) + batch().repeat(1, 1, 4, 4, 4)
    values = step(image, 0, 1e-3)
    assert seen == [torch.bfloat16]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    full = make_step(small_model().train(), **ADVERSARIAL)(image, 0, 1e-3)
    assert values.loss == pytest.approx(full.loss, rel=2e-2)


def test_dropout_is_a_function_of_seed_and_place():
    losses = {}
    for name, seed, seen in [("a", 0, 4), ("same", 0, 4), ("seed", 1, 4)]:
        torch.manual_seed(len(losses))
        model = small_model(dropout=0.5).train()
        model.quant_conv.weight.data[4:] = 0
        model.quant_conv.bias.data[4:] = -30
        losses[name] = make_step(model, seed)(batch(), seen, 1e-3).loss
    assert losses["a"] == losses["same"] != losses["seed"]


def test_a_step_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make_step(small_model(dropout=0.5).train(), **ADVERSARIAL)(batch(), 0, 1e-3)
    assert torch.equal(torch.rand(3), expected)


def fused(step):
    """Give a step fused optimizers, with which it reads nothing from its device."""
    for network in (step.generator, step.discriminator):
        if network is not None:
            network.optimizer = torch.optim.AdamW(network.module.parameters(), fused=True)
    return step


@pytest.mark.parametrize("changes", [{}, {**ADVERSARIAL, "r1_weight": 1.0, "r1_every": 2}])
def test_steps_on_a_device_are_those_that_are_read_at_once(changes):
    """With a step in between that is not finite, and read together after the last one."""
    steps = [make_step(small_model(), **changes) for _ in range(2)]
    fused(steps[1])
    averages = [AveragedWeights(step.generator.module, 20) for step in steps]
    for network in filter(None, (steps[0].generator, steps[0].discriminator)):
        network.optimizer = torch.optim.AdamW(network.module.parameters())
    results = []
    for seen in range(0, 10, 2):
        images = batch(seed=seen) * (float("nan") if seen == 4 else 1.0)
        results = [step(images, seen, 1e-3) for step in steps]
        for step, average, result in zip(steps, averages, results, strict=True):
            if result is not None:
                applied = getattr(result, "finite", None)
                average.follow(step.generator.module, seen + 2, 2, applied)
    assert isinstance(results[1], UnreadStep)
    told = [step.read(result) for step, result in zip(steps, results, strict=True)]
    assert [step.skipped for step in steps] == [1, 1]
    assert told[0].loss == pytest.approx(told[1].loss, rel=1e-5)
    assert told[0].weights == pytest.approx(told[1].weights, rel=1e-4)
    assert told[0].grad_norm == pytest.approx(told[1].grad_norm, rel=1e-4)
    pairs = [tuple(weights(step.generator.module) for step in steps)]
    pairs.append(tuple(weights(average) for average in averages))
    if changes:
        pairs.append(tuple(weights(step.discriminator.module) for step in steps))
    for expected, found in pairs:
        assert expected.keys() == found.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_steps_that_are_read_late_are_counted_in_order():
    step = fused(make_step(small_model()))
    before = weights(step.generator.module)
    for seen in range(0, 18, 2):
        result = step(batch() * float("nan"), seen, 1e-3)
    assert step.skipped == 0
    assert step.read(result) is None
    assert (step.skipped, step.skipped_in_a_row) == (9, 9)
    assert same(before, weights(step.generator.module))
    step(batch() * float("nan"), 18, 1e-3)
    result = step(batch(), 20, 1e-3)
    with pytest.raises(CtVaeError, match="10 steps in a row were not finite, the last at 18"):
        step.read(result)
