import pytest
import torch

from tests.models._shapes import NUMBERS
from tests.models._small import noise, small_model


def kept(stage: torch.nn.Module, x: torch.Tensor) -> int:
    """Numbers that the way back keeps of a stage, besides its weights."""
    own = {p.data_ptr() for p in stage.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # Whatever is kept stays alive, so that no address is used twice.
        result = stage(x)
    return sum(sizes.values()) if result.requires_grad else 0


@pytest.mark.parametrize("place", ["encoder.down.1", "encoder.mid", "decoder.mid"])
def test_checkpointing_keeps_what_enters_each_block_and_little_else(place):
    numbers = {"attn_resolutions": (2,), "num_res_blocks": 2}
    x = noise(1, 8 if "down" in place else 16, 8, 8, 8).requires_grad_()
    plain, twice = (
        kept(small_model(checkpointing=on, **numbers).train().get_submodule(place), x)
        for on in (False, True)
    )
    assert 0 < twice < 0.4 * plain


# resolution 16, base_ch 8, ch_mult (1, 2, 4), attn_resolutions (2,):
# name, channels, factor, side, attention after every block
ROWS = [
    ("encoder.down.0", 8, 1, 16, False),
    ("encoder.down.1", 16, 2, 8, True),
    ("encoder.down.2", 32, 4, 4, False),
    ("encoder.mid", 32, 4, 4, True),
    ("latent", 5, 4, 4, False),
    ("decoder.mid", 32, 4, 4, True),
    ("decoder.up.2", 32, 4, 4, False),
    ("decoder.up.1", 16, 2, 8, True),
    ("decoder.up.0", 8, 1, 16, False),
]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_description_is_that_of_the_rules(dims):
    stages = small_model(spatial_dims=dims, **NUMBERS).describe()
    expected = [(n, c, (f,) * dims, (side,) * dims, attn) for n, c, f, side, attn in ROWS]
    assert [(s.name, s.channels, s.factor, s.sides, s.attention) for s in stages] == expected


def test_sides_are_those_at_the_resolution():
    stages = small_model(resolution=256, mid_attn=False).describe()
    assert {s.name: s.sides for s in stages}["latent"] == (128,) * 3
    assert not any(s.attention for s in stages)


def test_strides_of_their_own_show_for_each_axis():
    stages = small_model(**NUMBERS, strides=((2, 2, 1), 2)).describe()
    told = {s.name: (s.factor, s.sides) for s in stages}
    assert told["encoder.down.1"] == ((2, 2, 1), (8, 8, 16))
    assert told["latent"] == ((4, 4, 2), (4, 4, 8))
    assert [s.name for s in stages if s.attention and "mid" not in s.name] == [
        "encoder.down.1",
        "decoder.up.1",
    ]


def test_a_side_without_a_middle_shows_none():
    names = [s.name for s in small_model(**NUMBERS, encoder_mid=False).describe()]
    assert "encoder.mid" not in names
    assert "decoder.mid" in names
