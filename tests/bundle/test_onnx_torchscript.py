import io
import shutil

import pytest
import torch

from ct_vae.bundle import onnx_torchscript as module
from ct_vae.bundle.network import part_of
from ct_vae.bundle.onnx_torchscript import ENDINGS, export
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, CtVaeError, OutputError
from tests._small import SMALL_CODES, SMALL_MODEL, small_model

TINY = {"down_channels": (4, 4), "norm_groups": 2}
KINDS = {"kl": SMALL_MODEL, **SMALL_CODES}
pytestmark = [
    # TorchScript is deprecated, and wanted by those who deploy.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # Of the exporters' own code.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnx|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnx|copyreg)"),
]


def tiny(part, kind="kl"):
    return part_of(part, small_model(base=KINDS[kind], **TINY), PreprocessConfig())


@pytest.mark.parametrize(
    ("form", "kind", "part"),
    [
        *((form, "kl", "reconstruct") for form in ENDINGS),
        # An ONNX file is made of a program of torch.export.
        pytest.param("onnx", "kl", "decode", marks=pytest.mark.slow),
        pytest.param("onnx", "vq", "reconstruct", marks=pytest.mark.slow),
        ("torchscript", "kl", "encode"),
        ("torchscript", "kl", "decode"),
        ("torchscript", "vq", "reconstruct"),
        ("torchscript", "magvit", "reconstruct"),
    ],
)
def test_exports_agree_with_eager_on_two_sizes(form, kind, part, tmp_path):
    path = tmp_path / "network.out"
    parity = export(tiny(part, kind), path, form)
    assert len(parity.sides) == 2
    assert parity.sides[0] != parity.sides[1]
    assert max(parity.largest_hu) <= 0.1
    # By hand, on a third size, from the file alone.
    network = tiny(part, kind)
    x = network.example((3, 2, 6))
    run = module._READERS[form](path.read_bytes())
    with torch.no_grad():
        assert (run(x) - network(x)).abs().max() <= 0.1


def test_a_network_that_disagrees_is_not_written(tmp_path, monkeypatch):
    network = tiny("reconstruct")
    other = part_of("reconstruct", small_model(1, **TINY), PreprocessConfig())
    content = module._torchscript(other)
    monkeypatch.setitem(module._WRITERS, "torchscript", lambda part: content)
    with pytest.raises(CtVaeError, match=r"differs by .* HU from the model, more than 0.1"):
        export(network, tmp_path / "x.ts", "torchscript")
    assert list(tmp_path.iterdir()) == []


def test_a_latent_is_judged_by_what_it_decodes_to(monkeypatch):
    network = tiny("encode")
    monkeypatch.setitem(module._READERS, "torchscript", lambda _: lambda x: network(x) + 0.5)
    parity = module._compare(network, b"", "torchscript")
    x = network.example((2, 3, 4))
    with torch.no_grad():
        latent = network(x)
        expected = (network.image(latent + 0.5) - network.image(latent)).abs().max().item()
    assert parity.largest_hu[0] == expected


def test_what_scripting_gives_takes_other_sides():
    network = tiny("reconstruct")
    scripted = torch.jit.load(io.BytesIO(scripted_bytes(network)))
    x = network.example((5, 2, 3))
    with torch.no_grad():
        assert (scripted(x) - network(x)).abs().max() < 0.1


def scripted_bytes(network):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    return buffer.getvalue()


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="a format is torchscript, onnx, export, got 'tflite'"):
        export(tiny("encode"), tmp_path / "x", "tflite")


def test_agreement_is_reported_in_hu_whatever_the_images_are_in(tmp_path, monkeypatch):
    model = small_model(**TINY)
    network = part_of("reconstruct", model, PreprocessConfig(), hounsfield=False)
    # A thousandth of a model unit is one HU.
    monkeypatch.setitem(module._READERS, "torchscript", lambda _: lambda x: network(x) + 0.001)
    with pytest.raises(CtVaeError, match="differs by 1 HU"):
        export(network, tmp_path / "x.ts", "torchscript")


def test_an_export_replaces_nothing_but_an_export(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="exists and does not look like an export"):
        export(tiny("encode"), folder / "model.safetensors", "torchscript")
    assert (folder / "model.safetensors").read_bytes() == before
    for _ in range(2):
        export(tiny("encode"), folder / "network.ts", "torchscript")
    with pytest.raises(OutputError, match="File name too long"):
        export(tiny("encode"), tmp_path / ("x" * 300), "torchscript")
