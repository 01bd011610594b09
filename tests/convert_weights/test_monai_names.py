import pytest
import torch

from ct_vae.convert_weights import export_weights, import_weights, interpret
from ct_vae.convert_weights.checkpoint_format import ConversionReport
from ct_vae.convert_weights.monai_names import has_old_steps, is_wrapped, modernize
from ct_vae.errors import WeightsError
from tests.convert_weights._monai import SHAPES, arguments, assert_agree, maisi, monai, older
from tests.models._small import small_model


def test_combined_layers_of_attention_are_taken_apart():
    theirs, given = monai(3, SHAPES[1], use_combined_linear=True)
    assert any("attn.qkv" in name for name in theirs.state_dict())
    assert_agree(import_weights(theirs.state_dict(), given), theirs, 1e-5)


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[5]])
def test_names_of_monai_generative_are_read_where_the_class_is_reported(shape):
    theirs, given = monai(3, shape)
    old = older(theirs.state_dict())
    given["num_channels"] = given.pop("channels")
    with pytest.raises(WeightsError, match=r"MONAI Generative and older MAISI.*_target_"):
        import_weights(old, given)
    for target in ("AutoencoderKL", "generative.networks.nets.AutoencoderKL"):
        imported = interpret(old, given | {"_target_": target})
        assert_agree(imported.model, theirs, 1e-5)
    assert any("MONAI Generative" in line for line in imported.statements)


@pytest.mark.parametrize("shape", [*SHAPES[1:4], SHAPES[5]])
def test_old_names_of_maisi_are_read(shape):
    theirs, given = maisi(shape, include_fc=True)
    # The same network of MONAI's holds its tensors in the same order.
    twin, _ = monai(3, shape)
    tensors = theirs.state_dict().values()
    old = older(dict(zip(twin.state_dict(), tensors, strict=True)))
    assert_agree(import_weights(old, given), theirs, 1e-5)
    assert_agree(
        import_weights(old, arguments(3, *shape, _target_="x.AutoencoderKlMaisi")),
        theirs,
        1e-5,
    )


MONAI_LIKE = {"double_z": False, "head_activation": False, "decoder_blocks": 1}


def test_means_and_log_variances_of_different_shapes_are_refused():
    state, config = export_weights(small_model(**MONAI_LIKE), "monai")
    narrow = {"quant_conv_mu.conv.weight": torch.zeros(4, 3, 1, 1, 1)}
    with pytest.raises(WeightsError, match="do not fit together"):
        import_weights(state | narrow, config)


@pytest.mark.parametrize("make", [monai, maisi])
def test_current_names_stay_as_they_are(make):
    theirs, _ = make(shape=SHAPES[2])
    wrapped, report = make is maisi, ConversionReport()
    state = theirs.state_dict()
    assert is_wrapped(state) is wrapped
    assert not has_old_steps(state)
    names = set(modernize(state, wrapped, report))
    changed = {"quant_conv_mu", "quant_conv_log_sigma", "quant_conv"}
    assert {n.split(".")[0] for n in names ^ set(state) if "out_proj" not in n} == changed


def test_a_tensor_with_both_names_is_refused():
    theirs, _ = monai(2, SHAPES[1])
    state = theirs.state_dict()
    with pytest.raises(WeightsError, match="twice, by its old and its new name"):
        modernize(state | older(state), False, ConversionReport())
