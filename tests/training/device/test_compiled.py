"""Training with compiled blocks. Compiling takes most of the time, so few tests do it."""

import shutil

import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.training import build, train
from ct_vae.training.checkpoints.checkpoint import newest_checkpoint
from ct_vae.training.device import compiled
from ct_vae.training.ema import AveragedWeights
from tests._small import small_model
from tests.training.test_trainer import config, metrics, patches

CPU = torch.device("cpu")
# PyTorch's own, while the compiler is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]


@pytest.fixture
def compiler_settings():
    """Restores the settings of the compiler, which are global."""
    from torch._dynamo import config as dynamo
    from torch._functorch import config as autograd_graphs

    with dynamo.patch(recompile_limit=8), autograd_graphs.patch(donated_buffer=True):
        yield


def test_names_stay_and_copies_are_not_compiled(monkeypatch, compiler_settings):
    monkeypatch.setattr(compiled, "_check_compiler", lambda _: None)
    model = small_model()
    names = list(model.state_dict())
    compiled.compile_blocks(model, CPU)
    copy = AveragedWeights(model, 100).module
    assert list(model.state_dict()) == list(copy.state_dict()) == names
    own, others = (
        [name for name, each in m.named_modules() if each._compiled_call_impl is not None]
        for m in (model, copy)
    )
    assert own == ["encoder", "decoder.mid", "decoder.up.0", "decoder.up.1", "decoder.up.2"]
    assert others == []


@pytest.mark.slow
def test_compiled_steps_are_those_of_before_and_resume_a_run(
    tmp_path, monkeypatch, compiler_settings
):
    """Before its second half is compiled, a run and its copy are the same."""
    weights = {
        "adversarial_weight": 0.1,
        "adversarial_start_samples": 0,
        "discriminator_ch": 4,
        "discriminator_levels": 1,
    }
    options = {"log_every": 2, "save_every": 4, "schedule": "constant", **weights}
    eager = config(tmp_path / "eager", samples=4, **options)
    train(patches(), eager)
    shutil.copytree(tmp_path / "eager", tmp_path / "compiled")
    step, models = build.compile_blocks, []
    monkeypatch.setattr(build, "compile_blocks", lambda m, d: (models.append(m), step(m, d)))
    runs = [
        train(patches(), config(tmp_path / name, samples=10, compile=on, **options), resume=True)
        for name, on in (("eager", False), ("compiled", True))
    ]
    (model,) = models
    assert model.encoder._compiled_call_impl is not None
    states = [newest_checkpoint(run, pytest.fail).tensors for run in runs]
    assert states[0].keys() == states[1].keys()
    for name, expected in states[0].items():
        torch.testing.assert_close(states[1][name], expected, rtol=1e-3, atol=1e-5, msg=name)
    lines = [[line["loss"] for line in metrics(run) if "loss" in line] for run in runs]
    assert len(lines[0]) == 5
    assert lines[1] == pytest.approx(lines[0], rel=1e-4)


@pytest.mark.parametrize("message", ["No working C++ compiler found in g++\nand more", ""])
def test_without_a_compiler_one_line_tells_what_is_missing(monkeypatch, message):
    def broken(_):
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "compile", lambda _: broken)
    with pytest.raises(ConfigError) as caught:
        compiled.compile_blocks(small_model(), CPU)
    assert "can compile nothing for cpu here: " in caught.value.cause
    assert caught.value.cause.endswith((message.split("\n")[0]) or "RuntimeError")
    assert "C++ compiler" in caught.value.hint
