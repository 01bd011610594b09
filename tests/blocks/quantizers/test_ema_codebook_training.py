"""What the codebook costs, how much of it is used, and whether ranks agree."""

from pathlib import Path

import pytest
import torch
from torch import distributed

from ct_vae.blocks.quantizers import EMACodebook
from tests._forked import begin, finish
from tests.models._small import noise


def measure_cost(told):
    """Write by how many kB the peak of memory rises with a step on a large latent."""

    def step(side):
        z = torch.randn(1, 8, side, side, side, requires_grad=True)
        result = quantizer(z)
        (result.latent.square().mean() + result.losses["commitment"]).backward()

    def peak():
        # Not ru_maxrss, which a process takes over from the one that starts it.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    quantizer = EMACodebook(8192, 8)
    step(4)
    before = peak()
    step(40)
    told.write_text(str(peak() - before))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_step_on_a_large_latent_takes_little_memory(tmp_path):
    finish(begin(measure_cost, tmp_path / "told"))
    kilobytes = int((tmp_path / "told").read_text())
    # All pairs of latents and codes would be 4.2 GB. Measured: 30 to 35 MB.
    assert 8_000 < kilobytes < 500_000


# Whether codes are normalized, by how many places the second rank has more, and whether one of its
# batches is not finite.
RUNS = {
    "broken": (False, 7, True),
    "broken_normalized": (True, 0, True),
    "even": (False, 0, False),
    "uneven": (False, 7, False),
    "uneven_normalized": (True, -8, False),
}


def learn(rank, folder):
    """What each of two processes does in all of `RUNS`."""
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    for name, (normalize, more, broken) in RUNS.items():
        torch.manual_seed(rank)
        quantizer = EMACodebook(65, 3, normalize=normalize, revive_after=2)
        batches = []
        for step in range(20):
            # Ranks see other data, from step to step in another place.
            z = torch.randn(2, 3, 10 + more * rank) + step / 10 + rank
            if broken and step == 5 and rank == 1:
                z[0, 0, 0] = torch.nan
            batches.append(z)
            quantizer(z)
        torch.save((quantizer.state_dict(), batches), folder / f"{name}_{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Gives state and batches of each of two processes after one of `RUNS`."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks = [begin(learn, rank, folder) for rank in (0, 1)]
    for rank in ranks:
        finish(rank)
    return lambda run: [torch.load(folder / f"{run}_{r}.pt") for r in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["broken", "broken_normalized"])
def test_two_ranks_hold_one_codebook(two_ranks, run):
    (first, batches), (second, others) = two_ranks(run)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    # One batch was not finite on one rank, and was skipped by both.
    assert first["updates"] == 19
    assert not torch.equal(batches[0].mean(), others[0].mean())
    assert first["initialised"]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["even", "uneven", "uneven_normalized"])
def test_two_ranks_learn_what_one_process_learns_from_all_their_latents(two_ranks, run):
    (first, batches), (_, others) = two_ranks(run)
    alone = EMACodebook(65, 3, normalize=RUNS[run][0], revive_after=2)
    for pair in zip(batches, others, strict=True):
        alone(torch.cat([z.movedim(1, -1).flatten(0, -2) for z in pair]))
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5)


def test_what_ranks_count_is_what_one_process_counts(monkeypatch):
    """Sums over two ranks, played by one process, are those of the joined batch."""
    z = [torch.randn(30, 3, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    joined, apart = (EMACodebook(8, 3, revive_after=None) for _ in range(2))
    for quantizer in (joined, apart):
        quantizer.initialised.fill_(True)
    apart.load_state_dict(joined.state_dict())

    def add_the_other(batch: torch.Tensor) -> None:
        chosen = torch.cdist(z[1], apart.codes).argmin(dim=1)
        batch[:, 0] += chosen.bincount(minlength=8)
        batch[:, 1:].index_add_(0, chosen, z[1])

    joined(torch.cat(z))
    monkeypatch.setattr("ct_vae.blocks.quantizers.ema_codebook.world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", add_the_other)
    apart(z[0])
    torch.testing.assert_close(apart.codes, joined.codes)
    torch.testing.assert_close(apart.counts, joined.counts)


def test_the_number_of_updates_decides_which_latents_are_drawn():
    first, again, later = (EMACodebook(8, 3) for _ in range(3))
    later.updates.fill_(7)
    for quantizer in (first, again, later):
        quantizer(noise(200, 3))
    assert torch.equal(first.codes, again.codes)
    assert not torch.equal(first.codes, later.codes)


def test_a_codebook_is_as_usual_unless_requested_otherwise():
    usual = EMACodebook()
    assert usual.codes.shape == (8192, 8)
    assert (usual.decay, usual.normalize, usual.revive_after) == (0.99, False, 100)


def structured(amount: int, seed: int) -> torch.Tensor:
    """A mixture of flat clusters of unequal weight, and a curve: ``(amount, 8)``."""
    fixed = torch.Generator().manual_seed(0)
    centers = 3 * torch.randn(20, 8, generator=fixed)
    axes = torch.randn(20, 8, 8, generator=fixed) * torch.logspace(0, -2, 8)
    weights = torch.linspace(1, 10, 20)
    drawn = torch.Generator().manual_seed(seed)
    which = torch.multinomial(weights, amount // 2, replacement=True, generator=drawn)
    spread = torch.randn(amount // 2, 8, 1, generator=drawn)
    clusters = centers[which] + (axes[which] @ spread).squeeze(-1)
    place = torch.rand(amount - amount // 2, 1, generator=drawn)
    return torch.cat([clusters, torch.sin(place * torch.arange(1.0, 9.0)) * 4])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("start", ["on latents", "far away"])
def test_most_codes_are_used_on_a_structured_source(normalize, start):
    quantizer = EMACodebook(512, 8, normalize=normalize, revive_after=5)
    if start == "far away":
        # All but a few codes dead from the start, as after a collapse.
        quantizer.initialised.fill_(True)
        quantizer.codes[4:] = -50 + 0.01 * quantizer.codes[4:]
        quantizer.sums.copy_(quantizer.codes)
    for step in range(60):
        quantizer(structured(2048, step))
    held_out = structured(10_000, 1000)
    result = quantizer.eval()(held_out)
    assert result.usage > 0.5
    assert result.perplexity > 128
    if not normalize:
        error = (result.latent - held_out).square().sum() / (
            held_out - held_out.mean(0)
        ).square().sum()
        assert error < 0.02
