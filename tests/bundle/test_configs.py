import json

import pytest

from ct_vae.bundle.write_bundle import write_bundle
from ct_vae.models.model_folder import load_model_folder, save_model_folder


def test_the_bundle_of_several_gpus_leaves_the_device_to_the_rank(bundle):
    assert json.loads((bundle / "configs/multi_gpu_train.json").read_text()) == {"device": None}


@pytest.fixture
def trained(model_folder, tmp_path):
    """A model folder with what a run leaves in it, and the same in its folder of the best."""
    folder = tmp_path / "run"
    loaded = load_model_folder(model_folder)
    settings = {
        "model": {"down_channels": [4, 8]},
        "data": {
            "train": "3 case(s), sha256 0123456789abcdef",
            "augment": {"noise_hu": 7.0},
            "resize_to": None,
        },
        "training": {
            "samples": 2600,
            "lr": 0.002,
            "output_dir": "/secret/run",
            "perceptual_weight": 0.5,
            "perceptual_weights_path": "/secret/vgg.pth",
        },
    }
    texts = {"ct_vae_run": json.dumps(settings)}
    for place in (folder, folder / "best"):
        config = loaded.config.model_copy(update={"samples_seen": 20})
        save_model_folder(place, loaded.model, config, "# run\n", texts)
    lines = [
        {"samples_seen": 20, "val_rmse_hu_full": 61.5},
        {"samples_seen": 30, "loss": 0.5},
        {"samples_seen": 40, "val_rmse_hu_full": 99.0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("which", [".", "best"])
def test_a_bundle_trains_as_the_run_did_and_tells_what_its_model_was_measured_at(
    trained, tmp_path, which
):
    write_bundle(trained / which, tmp_path / "b")
    train = json.loads((tmp_path / "b/configs/train.json").read_text())
    assert train["settings"]["training"]["lr"] == 0.002
    assert train["settings"]["data"]["augment"]["noise_hu"] == 7.0
    # The model is that of the folder, and the file of the perceptual term is not in the bundle.
    assert train["settings"]["model"]["down_channels"] == [4, 8, 8]
    assert train["settings"]["training"]["perceptual_weight"] == 0.0
    trainer = train["train"]["trainer"]
    assert trainer["max_epochs"] * trainer["epoch_samples"] in range(2597, 2604)
    assert trainer["max_epochs"] == 3
    metadata = json.loads((tmp_path / "b/configs/metadata.json").read_text())
    assert metadata["eval_metrics"] == {"val_rmse_hu_full": 61.5}
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["value_range"] == [-1000.0, 1000.0]
    for path in (tmp_path / "b" / "configs").iterdir():
        assert "secret" not in path.read_text()
        assert "0123456789abcdef" not in path.read_text()
