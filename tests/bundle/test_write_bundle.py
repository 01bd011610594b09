import monai.bundle
import pytest
import torch
from monai.bundle import ConfigWorkflow

from ct_vae.bundle.write_bundle import write_bundle
from ct_vae.errors import ConfigError, OutputError
from ct_vae.models.model_folder import load_model_folder
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
