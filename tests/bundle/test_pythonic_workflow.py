import pytest

from ct_vae.bundle import CaseWorkflow, TrainingWorkflow
from ct_vae.errors import ConfigError
from ct_vae.evaluation.settings import build_settings
from ct_vae.models.model_folder import load_model_folder
from tests._small import SMALL_MODEL
from tests.bundle._run import Patches, run, same_image

# MONAI says so of every configuration; this one is of the test's own making.
pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")


def test_the_workflow_in_python_trains(bundle, tmp_path):
    workflow = TrainingWorkflow(str(bundle), str(tmp_path / "run"), max_epochs=4, device="cpu")
    workflow.settings["training"] |= {"patch_size": [8, 8, 8], "batch_size": 2}
    workflow._epoch_samples = 1
    workflow.initialize()
    workflow.train_dataset, workflow.val_dataset = Patches(), []
    workflow.initialize()
    assert workflow.check_properties() == []
    assert workflow.max_epochs == 4
    assert workflow.run() == tmp_path / "run"
    loaded = load_model_folder(tmp_path / "run")
    assert loaded.config.samples_seen == 4
    assert loaded.config.model == SMALL_MODEL


def test_a_folder_that_is_no_bundle_is_refused(bundle, tmp_path):
    with pytest.raises(ConfigError, match=r"not a bundle, configs/metadata.json is missing"):
        TrainingWorkflow(str(tmp_path), str(tmp_path / "run"))
    (tmp_path / "configs").mkdir()
    metadata = (bundle / "configs/metadata.json").read_text()
    (tmp_path / "configs/metadata.json").write_text(metadata)
    (tmp_path / "configs/train.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"train.json: is not what `ct-vae bundle` writes"):
        TrainingWorkflow(str(tmp_path), str(tmp_path / "run"))


def test_the_workflow_in_python_does_the_same(bundle, ct_folder, tmp_path):
    workflow = CaseWorkflow(str(bundle), str(ct_folder), str(tmp_path / "a"), "encode", "cpu")
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    run(bundle, "encode", ct_folder, tmp_path / "b")
    same_image(tmp_path / "a" / "a_latent.nii.gz", tmp_path / "b" / "a_latent.nii.gz")
    with pytest.raises(ConfigError, match="not a bundle"):
        CaseWorkflow(str(ct_folder), str(ct_folder), str(tmp_path))


def test_the_workflow_in_python_evaluates_as_it_was_requested(bundle, ct_folder, tmp_path):
    chosen = build_settings(windows="lung", metrics="errors", panels=False, report=False)
    case = str(ct_folder / "a.nii.gz")
    workflow = CaseWorkflow(str(bundle), case, str(tmp_path), "evaluate", "cpu", chosen)
    workflow.initialize()
    workflow.run()
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    assert {row.split(",")[2] for row in rows} == {"lung"}
