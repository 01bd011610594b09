import pytest

from ct_vae.blocks.conv import PaddedConv
from ct_vae.blocks.norm import LayerNormND, RMSNormND
from ct_vae.blocks.style import BlockStyle
from ct_vae.errors import ConfigError


def test_norms_are_made_by_name():
    assert isinstance(BlockStyle(norm="rms").normalize(3, 8), RMSNormND)
    assert isinstance(BlockStyle(norm="layer").normalize(3, 8), LayerNormND)
    assert BlockStyle(norm_groups=4).normalize(3, 8).num_groups == 4


def test_only_the_convolutions_of_blocks_lose_their_offsets():
    style = BlockStyle(bias=False)
    assert style.block_conv(2, 3, 4).bias is None
    assert style.conv(2, 3, 4).bias is not None


def test_a_causal_style_makes_causal_convolutions():
    style = BlockStyle(norm="rms", causal_axis=1, padding_mode="replicate")
    conv = style.conv(3, 1, 1)
    assert isinstance(conv, PaddedConv)
    assert (conv.low, conv.high) == ((1, 2, 1), (1, 0, 1))
    assert conv.padding_mode == "replicate"


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"norm": "batch"}, "norm is one of group, rms, layer, got 'batch'"),
        ({"padding_mode": "same"}, "padding_mode is one of zeros, .*, got 'same'"),
        ({"dropout": 1.0}, "dropout is a probability in .0, 1., got 1.0"),
        ({"norm": "rms", "norm_groups": 2}, "norm_groups 2 has no effect with norm 'rms'"),
        ({"causal_axis": 0}, "a causal network cannot use norm 'group'"),
        (
            {"causal_axis": 0, "norm": "rms", "padding_mode": "circular"},
            "'circular' puts later voxels before the first",
        ),
    ],
)
def test_contradictions_are_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        BlockStyle(**numbers)
