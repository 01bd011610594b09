import subprocess
import sys

import monai.bundle
import onnxruntime
import pytest
import torch

from ct_vae.bundle.network import load_part
from ct_vae.models.model_folder import load_model_folder

pytestmark = [
    pytest.mark.slow,
    # TorchScript is deprecated, and the file that ckpt_export writes is one.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # MONAI calls the exporter with arguments of its former version.
    pytest.mark.filterwarnings("ignore:.*dynamic_axes.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnx|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnx|copyreg)"),
]


@pytest.fixture
def network(model_folder):
    return load_part("reconstruct", load_model_folder(model_folder))


def test_ckpt_export_as_a_user_calls_it(bundle, network, tmp_path):
    command = ["-m", "monai.bundle", "ckpt_export", "network_def", "--bundle_root"]
    files = ["--config_file", bundle / "configs/inference.json", "--filepath", tmp_path / "x.ts"]
    done = subprocess.run(
        [sys.executable, *command, bundle, *files],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    exported = torch.jit.load(tmp_path / "x.ts")
    with torch.no_grad():
        for blocks in ((2, 2, 2), (3, 2, 4)):
            image = network.example(blocks)
            assert (exported(image) - network(image)).abs().max() <= 0.1


def test_onnx_export_agrees_with_the_model(bundle, network, tmp_path):
    monai.bundle.onnx_export(
        net_id="network_def",
        filepath=str(tmp_path / "x.onnx"),
        ckpt_file=str(bundle / "models/model.pt"),
        meta_file=str(bundle / "configs/metadata.json"),
        config_file=str(bundle / "configs/inference.json"),
        input_shape=[1, 1, 8, 8, 8],
    )
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    image = network.example((2, 2, 2))
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        assert (torch.from_numpy(found) - network(image)).abs().max() <= 0.1
