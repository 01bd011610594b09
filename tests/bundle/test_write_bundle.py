import json

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigWorkflow

from ct_vae.bundle.write_bundle import write_bundle
from ct_vae.errors import ConfigError, OutputError
from ct_vae.models.model_folder import load_model_folder, save_model_folder
from tests.bundle._run import WORKFLOWS

# MONAI says so of every configuration; this one is of the test's own making.
pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")

FILES = {
    "LICENSE",
    "docs/README.md",
    *(f"configs/{n}.json" for n in ("metadata", "train", "multi_gpu_train")),
    *(f"configs/{n}.json" for n in ("inference", "encode", "decode", "evaluate")),
    "configs/logging.conf",
    *(f"models/{n}" for n in ("model.pt", "model.safetensors", "config.json")),
    *(f"models/{n}" for n in ("MODEL_CARD.md", "SHA256SUMS")),
}


def files_of(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_everything_is_there_and_tells_no_path(bundle, tmp_path):
    assert files_of(bundle) == FILES
    for name in FILES - {"models/model.pt", "models/model.safetensors"}:
        assert str(bundle.parent) not in (bundle / name).read_text()
    assert "Apache License" in (bundle / "LICENSE").read_text()


def test_formats_are_those_of_the_specification(bundle):
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    formats = [
        (
            metadata[f"{way}_data_format"]["inputs"]["image"],
            metadata[f"{way}_data_format"]["outputs"],
        )
        for way in ("network", "encoder", "decoder")
    ]
    found = [(given["format"], made["pred"]["format"]) for given, made in formats]
    assert found == [
        ("hounsfield", "hounsfield"),
        ("hounsfield", "latent"),
        ("latent", "hounsfield"),
    ]
    assert formats[0][0]["spatial_shape"] == ["4*n", "4*n", "4*n"]
    assert "ct_vae" in metadata["required_packages_version"]


def test_weights_are_plain_tensors_and_those_of_the_model_folder(bundle, model_folder):
    state = torch.load(bundle / "models/model.pt", weights_only=True)
    own = load_model_folder(model_folder).model.state_dict()
    assert {name.removeprefix("model.") for name in state} == own.keys()
    assert all(state[f"model.{name}"].equal(tensor) for name, tensor in own.items())
    assert load_model_folder(bundle / "models").sha256 == load_model_folder(model_folder).sha256


@pytest.mark.parametrize("kind", ["inference", "train"])
def test_monai_loads_it_from_another_folder(bundle, model_folder, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = monai.bundle.load(
        bundle.name, bundle_dir=bundle.parent, workflow_type=kind, device="cpu"
    )
    own = load_model_folder(model_folder).model.state_dict()
    assert all(network.state_dict()[f"model.{name}"].equal(t) for name, t in own.items())


@pytest.mark.parametrize(("name", "kind"), WORKFLOWS.items())
def test_workflows_have_the_properties_of_monai(
    bundle, ct_folder, name, kind, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cases = ct_folder if name != "decode" else bundle
    workflow = ConfigWorkflow(
        config_file=str(bundle / f"configs/{name}.json"),
        workflow_type=kind,
        logging_file=False,
        bundle_root=str(bundle),
    )
    for prop, about in workflow.properties.items():
        if about["required"]:
            workflow._get_prop_id(prop, about)
    assert workflow.parser["bundle_root"] == str(bundle)
    assert cases.is_dir()


def test_a_bundle_that_is_there_stays_unless_overwritten(bundle, model_folder, tmp_path):
    target = tmp_path / "bundle"
    write_bundle(model_folder, target)
    (target / "note").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_bundle(model_folder, target)
    assert (target / "note").is_file()
    # What lies beside a bundle's own files, such as a run, would be lost.
    with pytest.raises(
        ConfigError, match="contains other files than a bundle, and is not replaced: note"
    ):
        write_bundle(model_folder, target, overwrite=True)
    (target / "note").unlink()
    (target / "LICENSE").write_text("older")
    write_bundle(model_folder, target, overwrite=True)
    assert files_of(target) == FILES
    assert "Apache" in (target / "LICENSE").read_text()


def test_names_that_cannot_be_are_one_line(model_folder, tmp_path):
    with pytest.raises(OutputError, match="File name too long"):
        write_bundle(model_folder, tmp_path / ("x" * 300))


def test_the_model_itself_is_never_replaced(model_folder):
    for target in (model_folder, model_folder.parent):
        with pytest.raises(ConfigError, match="contains the model itself"):
            write_bundle(model_folder, target, overwrite=True)
    load_model_folder(model_folder)


def test_what_is_no_bundle_is_never_replaced(model_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_bundle(model_folder, other, overwrite=True)
    assert files_of(other) == FILES
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="contains other files than a bundle"):
        write_bundle(model_folder, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "metrics.jsonl").is_file()
    with pytest.raises(ConfigError, match="is inside the model folder"):
        write_bundle(model_folder, model_folder / "bundle")


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
