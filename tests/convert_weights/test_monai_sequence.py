import pytest
import torch

from ct_vae.convert_weights import import_weights
from ct_vae.convert_weights.monai_sequence import last_unit, parameter_name, read_side, unit_names
from ct_vae.errors import WeightsError
from tests.convert_weights._monai import SHAPES, maisi, monai


def test_a_list_of_units_that_monai_does_not_make_is_refused():
    theirs, given = monai(2, SHAPES[0])
    state = theirs.state_dict()
    without = {n: t for n, t in state.items() if not n.startswith("encoder.blocks.3.")}
    with pytest.raises(WeightsError, match=r"encoder\.blocks\.3 is not a unit"):
        import_weights(without, given)
    cut = {n: t for n, t in state.items() if not n.startswith("decoder.")}
    with pytest.raises(WeightsError, match=r"no decoder\.blocks"):
        import_weights(cut, given)
    block = {n for n in state if n.startswith("encoder.blocks.7.")}
    two_norms = {n: t for n, t in state.items() if n not in block}
    two_norms["encoder.blocks.7.weight"] = torch.ones(16)
    with pytest.raises(WeightsError, match="not a list of units that MONAI creates: crsrrrannc"):
        import_weights(two_norms, given)
    odd = {n: t for n, t in state.items() if not n.startswith("encoder.blocks.1.")}
    odd["encoder.blocks.1.attn.to_q.weight"] = torch.ones(8, 8)
    with pytest.raises(WeightsError, match="a level that MONAI does not create: 'a'"):
        import_weights(odd, given)
    alone = {n: t for n, t in state.items() if "quant_conv_mu" not in n}
    with pytest.raises(WeightsError, match=r"no quant_conv\.conv\.weight"):
        import_weights(alone, given)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_architecture_of_each_side_is_read_from_its_units(part, shape):
    attention, encoder_mid, decoder_mid, blocks = shape
    side = read_side(monai(2, shape)[0].state_dict(), part)
    middle = encoder_mid if part == "encoder" else decoder_mid
    assert (side.widths, side.blocks, side.attention) == ((8, 16), blocks, attention)
    assert (side.middle, side.attends) == (middle, middle)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_has_the_name_of_monai(shape, wrapped):
    theirs, given = maisi(shape, include_fc=True) if wrapped else monai(3, shape)
    ours = import_weights(theirs.state_dict(), given)
    for part in ("encoder", "decoder"):
        units = unit_names(ours.config, part)
        expected = {n for n in theirs.state_dict() if n.startswith(f"{part}.blocks.")}
        found = set()
        for number, (unit, letter) in enumerate(units):
            for name in getattr(ours, part).get_submodule(unit).state_dict():
                inner = parameter_name(name, letter, part, wrapped and "mid" not in unit)
                found.add(f"{part}.blocks.{number}.{inner}")
        assert found == expected
        assert len(units) == last_unit(theirs.state_dict(), part) + 1
