import pytest
import torch

from ct_vae.convert_weights import import_weights, interpret
from ct_vae.convert_weights.checkpoint import autoencoder_part
from ct_vae.convert_weights.checkpoint_format import ConversionReport
from ct_vae.errors import WeightsError
from tests.convert_weights._forms import OF, exported
from tests.convert_weights._monai import SHAPES, maisi, monai


@pytest.mark.parametrize(("scale", "expected"), [(torch.tensor([0.5]), 0.5), (torch.ones(2), None)])
def test_a_scale_is_one_number(scale, expected):
    state = {"vae.encoder.x": torch.ones(1), "scale_factor": scale}
    assert autoencoder_part(state, ConversionReport())[1] == expected


@pytest.mark.parametrize("prefix", ["module.", "autoencoder.", "model.", "net.module.", "vae."])
@pytest.mark.parametrize("form", OF)
def test_a_prefix_is_taken_off_and_said(form, prefix):
    state, config = exported(form)
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    imported = interpret(wrapped | {"optimizer_step": torch.zeros(())}, config)
    assert imported.form == form
    assert f"read: the autoencoder, with the prefix {prefix}" in imported.statements
    assert any("left aside: tensors outside" in line for line in imported.statements)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "no autoencoder was found, the names begin with nothing"),
        ({"unet.x": torch.zeros(1)}, r"the names begin with unet \(1\)"),
        ({"encoder.first.weight": torch.zeros(1)}, "unknown format.*CompVis and diffusers.*MONAI"),
        ({"encoder.down.0.x": torch.ones(1), "quantize.embedding.weight": torch.ones(1)}, "quanti"),
        ({"a.encoder.down.0.x": torch.zeros(1)}, "no autoencoder was found"),
        ({"encoder.down.0.x": [1.0]}, "not a mapping of names to tensors"),
        ({7: torch.zeros(1)}, "not a mapping of names to tensors"),
        ({"encoder.down.0.x": torch.zeros(1), "vae.encoder.x": torch.zeros(1)}, "2 autoencoders"),
    ],
)
def test_what_is_no_autoencoder_is_refused(state, words):
    with pytest.raises(WeightsError, match=words):
        import_weights(state)


def test_transposed_convolutions_are_refused_by_name():
    theirs, given = monai(2, SHAPES[6], use_convtranspose=True)
    with pytest.raises(WeightsError, match="use_convtranspose"):
        import_weights(theirs.state_dict(), given)
    theirs, given = maisi(SHAPES[6], use_convtranspose=True)
    with pytest.raises(WeightsError, match="use_convtranspose True"):
        import_weights(theirs.state_dict(), given)


def test_monai_and_maisi_are_not_taken_for_each_other():
    theirs, given = monai()
    for wrong in ({"_target_": "x.AutoencoderKlMaisi"}, {"num_splits": 2}):
        with pytest.raises(WeightsError, match=r"num_splits|AutoencoderKlMaisi"):
            import_weights(theirs.state_dict(), given | wrong)
    theirs, given = maisi()
    with pytest.raises(WeightsError, match="the configuration is of AutoencoderKL"):
        import_weights(theirs.state_dict(), given | {"_target_": "x.AutoencoderKL"})
