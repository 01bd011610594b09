import json

import pytest
import torch

from tests.cli._run import call

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def test_export_writes_the_file_and_tells_how_well_it_agrees(model_folder, tmp_path):
    target = tmp_path / "model.ts"
    code, text = call("export", model_folder, "-o", target, "--format", "torchscript", "--json")
    parity = json.loads(text)
    assert code == 0
    assert max(parity["largest_hu"]) <= 0.1
    assert torch.jit.load(target)(torch.zeros(1, 1, 8, 4, 12)).shape == (1, 1, 8, 4, 12)


def test_each_part_can_be_had(model_folder, tmp_path):
    target = tmp_path / "encoder.ts"
    args = ("--format", "torchscript", "--part", "encode", "--model-units")
    code, text = call("export", model_folder, "-o", target, *args)
    assert code == 0
    assert "input 8 x 12 x 16: off by at most" in text
    assert torch.jit.load(target)(torch.zeros(1, 1, 8, 4, 12)).shape == (1, 4, 2, 1, 3)
