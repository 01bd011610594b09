import pytest
import torch

from ct_vae.blocks.quantizers import EMACodebook
from ct_vae.errors import ConfigError
from tests.models._small import noise

SPHERE = pytest.mark.parametrize("normalize", [False, True])


def state_of(quantizer: EMACodebook) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def assert_same_state(a: EMACodebook, b: EMACodebook | dict[str, torch.Tensor]) -> None:
    left, right = state_of(a), b if isinstance(b, dict) else state_of(b)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def initialized(*args, **numbers) -> EMACodebook:
    """A codebook that takes its random codes for drawn ones."""
    quantizer = EMACodebook(*args, **numbers)
    quantizer.initialised.fill_(True)
    return quantizer


def reference_updates(codes, batches, decay):
    """Appendix A.1 of van den Oord et al. 2017, one code after another."""
    codes = codes.double().clone()
    counts, sums = torch.ones(len(codes)).double(), codes.clone()
    for z in batches:
        nearest = torch.cdist(z.double(), codes).argmin(dim=1)
        for i in range(len(codes)):
            mine = z.double()[nearest == i]
            counts[i] = decay * counts[i] + (1 - decay) * len(mine)
            sums[i] = decay * sums[i] + (1 - decay) * mine.sum(dim=0)
            if len(mine):
                codes[i] = sums[i] / counts[i]
    return codes, counts, sums


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_codes_follow_the_moving_averages_of_the_paper(decay):
    quantizer = initialized(12, 3, decay=decay, revive_after=None)
    batches = [noise(50, 3, seed=s) for s in range(8)]
    expected = reference_updates(quantizer.codes, batches, decay)
    for z in batches:
        quantizer(z)
    for value, reference in zip(
        (quantizer.codes, quantizer.counts, quantizer.sums), expected, strict=True
    ):
        torch.testing.assert_close(value.double(), reference, rtol=1e-4, atol=1e-5)


def test_the_result_is_that_of_the_codes_before_the_update():
    quantizer = initialized(12, 3)
    codes = quantizer.codes.clone()
    result = quantizer(noise(50, 3))
    assert torch.equal(result.latent, codes[result.indices])
    assert not torch.equal(quantizer.codes, codes)


@SPHERE
def test_commitment_pulls_the_latent_to_its_code(normalize):
    quantizer = EMACodebook(12, 3, normalize=normalize).eval()
    z = noise(2, 3, 5).requires_grad_()
    result = quantizer(z)
    given_z = torch.nn.functional.normalize(z, dim=1) if normalize else z
    expected = (given_z - result.latent.detach()).square().mean()
    torch.testing.assert_close(result.losses["commitment"], expected)
    gradients = [
        torch.autograd.grad(loss, z, retain_graph=True)[0]
        for loss in (result.losses["commitment"], expected)
    ]
    torch.testing.assert_close(*gradients)


def test_the_latent_carries_the_gradient_straight_through():
    z = noise(2, 3, 5).requires_grad_()
    weights = noise(2, 3, 5, seed=1)
    (EMACodebook(12, 3)(z).latent * weights).sum().backward()
    assert torch.equal(z.grad, weights)


@SPHERE
def test_the_first_batch_gives_the_codes(normalize):
    quantizer = EMACodebook(16, 3, normalize=normalize, decay=0.99999)
    z = 5 + noise(200, 3)
    quantizer.eval()(z)
    assert not quantizer.initialised
    result = quantizer.train()(z)
    assert quantizer.initialised
    drawn = torch.nn.functional.normalize(z, dim=1) if normalize else z
    assert torch.cdist(quantizer.codes, drawn).min(dim=1).values.max() < 1e-2
    assert result.usage == 1.0


def test_fewer_latents_than_codes_are_spread_a_little():
    quantizer = EMACodebook(64, 3)
    z = noise(10, 3)
    quantizer(z)
    assert len(quantizer.codes.unique(dim=0)) == 64
    assert torch.cdist(quantizer.codes, z).min(dim=1).values.max() < 0.1


@SPHERE
def test_codes_of_no_latent_stay_to_the_last_bit_and_none_explodes(normalize):
    quantizer = initialized(100, 4, normalize=normalize, revive_after=None)
    quantizer.codes[10:] = quantizer.codes[10:] - 40 * torch.eye(4)[0]
    if normalize:
        quantizer.codes[10:] = torch.nn.functional.normalize(quantizer.codes[10:])
        quantizer.codes[:10, 0] = quantizer.codes[:10, 0].abs()
    quantizer.sums.copy_(quantizer.codes)
    far = quantizer.codes[10:].clone()
    bound = quantizer.codes.norm(dim=1).max()
    largest = torch.zeros(())
    for step in range(100):
        z = noise(400, 4, seed=step)
        z[:, 0] = z[:, 0].abs() + 3
        assert quantizer(z).indices.max() < 10
        largest = torch.maximum(largest, z.norm(dim=1).max())
        assert quantizer.codes.norm(dim=1).max() <= torch.maximum(bound, largest)
    assert torch.equal(quantizer.codes[10:], far)
    assert quantizer.counts[10:].max() == pytest.approx(0.99**100, rel=1e-3)


def test_a_code_whose_averages_have_vanished_comes_back_where_latents_are():
    quantizer = initialized(2, 1, revive_after=None)
    quantizer.codes.copy_(torch.tensor([[0.0], [10.0]]))
    quantizer.counts.copy_(torch.tensor([1.0, 0.0]))
    quantizer.sums.zero_()
    quantizer(torch.zeros(5, 1))
    assert quantizer.codes.flatten().tolist() == [0.0, 10.0]
    quantizer(torch.tensor([[8.0], [9.0]]))
    torch.testing.assert_close(quantizer.codes[1], torch.tensor([8.5]))


@SPHERE
def test_a_revived_code_is_on_a_latent_and_stays_there(normalize):
    quantizer = initialized(8, 2, normalize=normalize, revive_after=3)
    quantizer.codes.copy_(torch.tensor([[1.0, 0.0], *[[-0.6, -0.8]] * 7]))
    quantizer.sums.copy_(quantizer.codes)
    here = torch.tensor([[1.0, 0.0]]) + 0.01 * noise(20, 2)
    there = torch.tensor([[0.6, 0.8]]) + 0.01 * noise(20, 2, seed=1)
    for expected in ([0] + [1] * 7, [0] + [2] * 7, [0] * 8):
        quantizer(here)
        assert quantizer.idle.tolist() == expected
    revived = quantizer.codes.clone()
    latents = torch.nn.functional.normalize(here) if normalize else here
    assert (revived[1:].unsqueeze(1) == latents).all(dim=2).any(dim=1).all()
    assert len(revived.unique(dim=0)) == 8
    for _ in range(2):
        chosen = quantizer(there).indices.unique()
        left = [i for i in range(8) if i not in chosen]
        assert len(left) >= 6
        assert torch.equal(quantizer.codes[left], revived[left])


def test_a_revived_code_is_not_thrown_back_by_its_old_averages():
    quantizer = initialized(2, 1, revive_after=1)
    quantizer.codes.copy_(torch.tensor([[5.0], [900.0]]))
    quantizer.sums.copy_(torch.tensor([[5.0], [900.0 * 50]]))
    quantizer.counts.copy_(torch.tensor([1.0, 50.0]))
    z = torch.linspace(4, 6, 40).unsqueeze(1)
    for _ in range(2):
        quantizer(z)
        assert 4 <= quantizer.codes.min() <= quantizer.codes.max() <= 6


@SPHERE
def test_a_resumed_codebook_goes_on_to_the_last_bit(normalize):
    def train(quantizer: EMACodebook, steps: range) -> EMACodebook:
        for step in steps:
            # Something else draws random numbers as well.
            torch.rand(step)
            quantizer(noise(4, 3, 6, seed=step))
        return quantizer

    whole = train(EMACodebook(64, 3, normalize=normalize, revive_after=2), range(10))
    half = train(EMACodebook(64, 3, normalize=normalize, revive_after=2), range(5))
    resumed = EMACodebook(64, 3, normalize=normalize, revive_after=2)
    resumed.load_state_dict(state_of(half))
    assert_same_state(resumed, half)
    assert_same_state(train(resumed, range(5, 10)), whole)


def test_training_leaves_the_global_randomness_alone():
    quantizer = EMACodebook(64, 3, revive_after=1)
    before = torch.get_rng_state()
    for step in range(3):
        quantizer(noise(10, 3, seed=step))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("first", [True, False])
def test_a_batch_that_is_not_finite_changes_nothing(bad, first):
    quantizer = EMACodebook(16, 3)
    z = noise(20, 3)
    if not first:
        quantizer(z)
    before = state_of(quantizer)
    # With every latent drawn, the first draw meets the bad one too.
    z[5:, 1] = bad
    quantizer(z)
    assert_same_state(quantizer, before)


def test_one_bad_latent_in_a_first_batch_does_not_get_into_a_code():
    for position in range(20):
        quantizer = EMACodebook(4, 3)
        z = noise(20, 3)
        z[position, 0] = torch.nan
        quantizer(z)
        assert all(value.isfinite().all() for value in state_of(quantizer).values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_codebook_stays_in_single_precision_under_autocast(dtype):
    plain, mixed = (initialized(32, 4) for _ in range(2))
    mixed.load_state_dict(plain.state_dict())
    z = noise(100, 4).to(dtype)
    expected = plain(z.float())
    with torch.autocast("cpu", dtype=dtype):
        result = mixed(z)
    assert result.latent.dtype == dtype
    assert torch.equal(result.indices, expected.indices)
    assert {v.dtype for v in (mixed.codes, mixed.counts, mixed.sums)} == {torch.float32}
    assert_same_state(mixed, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_training_a_codebook_in_half_precision_is_refused(dtype):
    with pytest.raises(ConfigError, match="train under autocast"):
        EMACodebook(16, 3).to(dtype)(noise(5, 3).to(dtype))
    assert EMACodebook(16, 3).to(dtype).eval()(noise(5, 3).to(dtype)).latent.dtype == dtype


def test_codes_on_the_sphere_stay_on_it():
    quantizer = EMACodebook(16, 3, normalize=True, revive_after=2)
    for step in range(20):
        latent = quantizer(3 * noise(30, 3, seed=step)).latent
        torch.testing.assert_close(latent.norm(dim=1), torch.ones(30))
    torch.testing.assert_close(quantizer.codes.norm(dim=1), torch.ones(16))


def test_opposite_latents_give_a_code_on_the_sphere_no_direction():
    quantizer = initialized(2, 2, decay=0.0, normalize=True, revive_after=None)
    quantizer.codes.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    quantizer(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    assert quantizer.codes.tolist() == [[1.0, 0.0], [-1.0, 0.0]]


def test_training_can_be_compiled_around_the_update():
    plain, compiled = EMACodebook(16, 3), EMACodebook(16, 3)
    compiled.load_state_dict(plain.state_dict())
    step = torch.compile(compiled, backend="eager")
    for seed in range(3):
        assert torch.equal(
            step(noise(30, 3, seed=seed)).latent, plain(noise(30, 3, seed=seed)).latent
        )
    assert_same_state(compiled, plain)


@pytest.mark.parametrize(
    ("revive_after", "latents", "most"), [(3, 6, 120), (20, 6, 110), (20, 200, 60)]
)
def test_a_codebook_on_a_device_is_read_seldom_and_learns_the_same(
    monkeypatch, revive_after, latents, most
):
    """Some batches are not finite, and some steps are undone as those that are skipped."""
    plain, device = (initialized(12, 3, revive_after=revive_after) for _ in range(2))
    device.load_state_dict(plain.state_dict())
    monkeypatch.setattr(type(device), "_spares_reads", property(lambda self: self is device))
    draws, draw = [], EMACodebook._draw
    monkeypatch.setattr(EMACodebook, "_draw", lambda self, *a: draws.append(self) or draw(self, *a))
    checks = []
    stack = torch.stack
    monkeypatch.setattr(
        "ct_vae.blocks.quantizers.ema_codebook.torch.stack",
        lambda tensors: checks.append(1) or stack(tensors),
    )
    counted = {plain: 0, device: 0}
    for step in range(120):
        # Latents move, so that codes are left behind.
        z = noise(latents, 3, seed=step) * 0.3 + step / 60
        if step % 11 == 5:
            z[0, 0] = torch.nan
        for quantizer in (plain, device):
            before, checked = state_of(quantizer), len(checks)
            quantizer(z)
            counted[quantizer] += len(checks) - checked
            if step % 7 == 3:
                for name, buffer in quantizer.named_buffers():
                    buffer.copy_(before[name])
        assert_same_state(plain, device)
    assert draws.count(plain) == draws.count(device) > 0
    assert counted[plain] == 120
    assert counted[device] < most


def test_a_codebook_reads_nothing_while_no_code_can_become_idle():
    """On PyTorch's device without data, where reading is an error."""
    quantizer = initialized(4, 3).to("meta")
    quantizer._known_ready, quantizer._updates_before_check = True, 2
    z = torch.empty(8, 3, 2, device="meta")
    for _ in range(2):
        quantizer(z)
    with pytest.raises(RuntimeError, match="meta"):
        quantizer(z)
