import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.norm import RMSNormND
from ct_vae.blocks.style import BlockStyle
from tests._asserts import assert_close
from tests.blocks._correlate import correlated, noise


def full_matrix(block: SpatialSelfAttention, x: torch.Tensor) -> torch.Tensor:
    """The same by the book, with every pair of positions written out, in float64."""
    h = block.norm(x)
    q, k, v = (correlated(layer, h).flatten(2) for layer in (block.q, block.k, block.v))
    weights = torch.softmax(q.mT @ k / x.shape[1] ** 0.5, dim=-1)
    attended = (v @ weights.mT).reshape(x.shape)
    return x.double() + correlated(block.proj_out, attended)


@pytest.mark.parametrize("sides", [(9,), (4, 3), (2, 3, 4)])
def test_every_position_looks_at_every_other(sides):
    block = SpatialSelfAttention(len(sides), 6, BlockStyle(norm_groups=3))
    with torch.no_grad():
        for layer in (block.q, block.k):
            layer.weight.mul_(5)
    x = noise(2, 6, *sides)
    assert_close(block(x), full_matrix(block, x), 1e-5)


def test_its_norm_is_that_of_the_network():
    assert isinstance(SpatialSelfAttention(3, 6, BlockStyle(norm="rms")).norm, RMSNormND)


def test_moving_the_positions_moves_the_result():
    block = SpatialSelfAttention(1, 4)
    x, order = noise(1, 4, 12), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(block(x)[..., order], block(x[..., order]))


@contextmanager
def memory_rise_mb() -> Iterator[list[float]]:
    """Append to the list by how much the process's peak memory rose above its start."""
    status = Path("/proc/self/status")

    def field(name: str) -> float:
        line = next(row for row in status.read_text().splitlines() if row.startswith(name))
        return int(line.split()[1]) / 1024

    Path("/proc/self/clear_refs").write_text("5")
    start, rise = field("VmRSS"), []
    yield rise
    rise.append(field("VmHWM") - start)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_no_matrix_of_all_pairs_is_held():
    block, x = SpatialSelfAttention(3, 16), noise(1, 16, 20, 20, 20)
    with memory_rise_mb() as rise:
        block(x).sum().backward()
    pairs_mb = 4 * (20**3) ** 2 / 2**20
    assert rise[0] < pairs_mb / 4


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_a_latent_of_24_cubed_attends_in_bounded_memory():
    block, x = SpatialSelfAttention(3, 128), noise(1, 128, 24, 24, 24)
    with torch.no_grad(), memory_rise_mb() as rise:
        block(x)
    # Seven maps of 7 MiB; the matrix would take 729.
    assert rise[0] < 128
