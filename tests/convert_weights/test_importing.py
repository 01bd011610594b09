"""What holds for every form: recognition, refusals, and the way around through all of them."""

import logging
import re

import pytest
import torch

from ct_vae.convert_weights import export_weights, import_weights, interpret
from ct_vae.errors import WeightsError
from ct_vae.models.build import build_untrained
from tests._asserts import assert_close
from tests.convert_weights._forms import OF, exported
from tests.models._latent_diffusion import LatentDiffusion
from tests.models._small import noise, small_model


@pytest.mark.parametrize("form", OF)
def test_what_goes_out_comes_back_as_it_was(form):
    model = small_model(**OF[form])
    model.scaling_factor = 0.5
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, config = export_weights(model, form)
    imported = interpret(state, config)
    assert imported.form == form
    assert imported.statements[0].startswith("format: ")
    assert imported.statements[1].startswith("architecture: ")
    assert imported.config == imported.model.config
    unread = {"resolution"} if form != "compvis" else set()
    assert imported.config.model_dump(exclude=unread) == model.config.model_dump(exclude=unread)
    result = imported.model.state_dict()
    assert result.keys() == before.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(result[name], tensor, rtol=0, atol=0)
    x = noise(1, model.in_channels, *(8,) * model.spatial_dims)
    with torch.no_grad():
        assert_close(imported.model.moments(x), model.moments(x), 1e-6)
        assert_close(imported.model(x, False)[0], model(x, False)[0], 1e-6)
    # Only Stable Diffusion's configurations have a place for the scale.
    kept = form in ("compvis", "diffusers")
    assert imported.model.scaling_factor == (0.5 if kept else 0.18215)


def some(state):
    """Names of the tensors at both ends and around the latent, and every twelfth of the others."""
    names = list(state)
    inner = [name for name in names if re.search(r"\d", name)]
    return [*inner[::12], *(set(names) - set(inner)), *names[:2], *inner[-2:]]


@pytest.mark.parametrize("form", OF)
def test_a_missing_tensor_is_refused(form):
    state, config = exported(form)
    for name in some(state):
        with pytest.raises(WeightsError):
            import_weights({n: t for n, t in state.items() if n != name}, config)


@pytest.mark.parametrize("form", OF)
def test_a_tensor_that_is_a_lone_number_is_refused(form):
    state, config = exported(form)
    for name in some(state):
        with pytest.raises(WeightsError):
            import_weights(state | {name: torch.zeros(())}, config)


@pytest.mark.parametrize("form", OF)
@pytest.mark.parametrize("value", ["x", {}])
def test_strange_values_in_a_configuration_are_refused_or_change_nothing(form, value):
    state, config = exported(form)
    expected = str(import_weights(state, config))
    for key in [*config, *("params", "ddconfig", "norm_eps", "shift_factor", "_target_")]:
        try:
            found = str(import_weights(state, config | {key: value}))
        except WeightsError:
            continue
        assert found == expected


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(8, dtype=torch.int8), "conv1.bias holds int8: quantized weights"),
        (torch.full((8,), torch.nan), "conv1.bias contains values that are not finite"),
        (torch.full((8,), torch.inf), "damaged weights"),
    ],
)
def test_values_that_are_no_weights_are_refused(tensor, words):
    state, config = exported("diffusers")
    with pytest.raises(WeightsError, match=words.replace(".", r"\.")):
        import_weights(state | {"encoder.down_blocks.0.resnets.0.conv1.bias": tensor}, config)


@pytest.mark.parametrize("form", OF)
def test_tensors_too_many_too_few_or_too_large_are_named(form):
    state, config = exported(form)
    first = next(n for n in state if "conv1" in n and n.endswith("bias"))
    changed = dict(state) | {"encoder.alien": torch.zeros(1), first: torch.zeros(3)}
    gone = next(n for n in state if "conv2" in n and n.endswith("bias"))
    del changed[gone]
    with pytest.raises(WeightsError) as caught:
        import_weights(changed, config)
    told = str(caught.value)
    assert f"1 missing ({gone})" in told
    assert "1 unexpected (encoder.alien)" in told
    assert (
        f"1 of another shape ({first} (3,) instead of (8,))".replace(
            "(8,)", str(tuple(state[first].shape))
        )
        in told
    )
    assert "\n" not in told


def changed(**tensors):
    state = dict(LatentDiffusion(ch_mult=(1, 2)).state_dict())
    for name, tensor in tensors.items():
        state[name.replace("__", ".")] = tensor
    return state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (changed(encoder__conv_out__weight=torch.zeros(5, 64, 3, 3)), "neither as many nor twice"),
        (changed(encoder__conv_out__weight=torch.zeros(12, 64, 3, 3)), "neither as many nor twice"),
        (changed(quant_conv__weight=torch.zeros(4, 8, 1, 1)), "not means and log-variances"),
        (changed(encoder__conv_in__weight=torch.zeros(3)), "not the kernel of a convolution"),
        (changed(encoder__conv_in__weight=torch.zeros(48, 3, 3, 3)), "48 channels before levels"),
        (changed(encoder__down__5__block__0__conv1__weight=torch.zeros(4, 4, 3, 3)), "without"),
        (changed(encoder__down__0__attn__0__q__weight=torch.zeros(32, 32, 1, 1)), "attention by"),
        (changed(encoder__down__1__block__0__conv1__weight=torch.zeros(96, 32, 3, 3)), "widths by"),
    ],
)
def test_weights_that_contradict_themselves_are_refused(state, words):
    with pytest.raises(WeightsError, match=words):
        import_weights(state)


def test_one_middle_with_attention_is_refused():
    state = {n: t for n, t in changed().items() if "encoder.mid.attn_1" not in n}
    with pytest.raises(WeightsError, match="only one of the two middle stages has attention"):
        import_weights(state)


def test_what_was_assumed_is_logged(caplog):
    with caplog.at_level(logging.INFO, logger="ct_vae"):
        import_weights(LatentDiffusion().state_dict())
    assert "assumed: 32 groups" in caplog.text


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"strides": ((2, 2, 1),), "norm": "layer", "norm_groups": None, "tanh_out": True},
        {"down_channels": (8, 12), "num_res_blocks": (1, 2), "decoder_blocks": (2, 2)},
        {"attn_resolutions": (1, 2), "encoder_mid": False, "dropout": 0.25, "embed_dim": 2},
        {"output_activation": "sigmoid"},
        {"spatial_dims": 1, "padding_mode": "replicate", "stage_2_inputs": "sample"},
    ],
)
def test_a_model_tells_with_which_configuration_it_is_built(numbers):
    model = small_model(**numbers)
    twin = build_untrained(model.config)
    assert torch.nn.Module.__repr__(twin) == torch.nn.Module.__repr__(model)
    assert twin.config == model.config
    assert (twin.resolution, twin.stage_2_inputs) == (model.resolution, model.stage_2_inputs)
    twin.load_state_dict(model.state_dict())


@pytest.mark.parametrize("form", OF)
def test_a_scale_from_elsewhere_comes_after_that_of_the_configuration(form):
    model = small_model(**OF[form])
    model.scaling_factor = 0.5
    state, config = export_weights(model, form)
    kept = form in ("compvis", "diffusers")
    assert interpret(state, config, 0.25).model.scaling_factor == (0.5 if kept else 0.25)
    bare = {k: v for k, v in config.items() if k not in ("scale_factor", "scaling_factor")}
    imported = interpret(state, bare, 0.25)
    assert imported.model.scaling_factor == 0.25
    assert "read: latent scale_factor 0.25" in imported.statements


def test_a_block_that_is_gone_is_missing_and_the_others_are_not_too_many():
    model = LatentDiffusion(ch_mult=(1, 2), blocks=2)
    gone = "encoder.down.0.block.0."
    state = {n: t for n, t in model.state_dict().items() if not n.startswith(gone)}
    with pytest.raises(WeightsError, match=rf"\d+ missing \({gone}.*\)$"):
        import_weights(state)
