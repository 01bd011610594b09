import json

import pytest
import torch

from ct_vae.bundle import Trainer, TrainingWorkflow, run_config
from ct_vae.errors import ConfigError
from ct_vae.models.model_folder import load_model_folder
from tests._small import SMALL_MODEL


class Patches(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        noise = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(index))
        return {"image": 100 * noise}


def test_any_data_set_of_dictionaries_will_do(tmp_path):
    settings = {"model": SMALL_MODEL.model_dump(mode="json"), "training": {"patch_size": [8, 8, 8]}}
    trainer = Trainer(settings, Patches(), tmp_path / "run", 1, 4, device="cpu")
    assert trainer.run() == tmp_path / "run"
    assert load_model_folder(tmp_path / "run").config.samples_seen == 4


def test_a_folder_takes_the_place_of_the_data_and_keeps_augmentation():
    settings = {"data": {"phantoms": {"train": 2}, "augment": {"noise_hu": 5.0}}}
    config = run_config(settings, "/ct")
    assert config.data.train == ("/ct",)
    assert config.data.phantoms is None
    assert config.data.augment.noise_hu == 5.0
    assert run_config(settings).data.phantoms.train == 2


def test_the_bundle_of_several_gpus_leaves_the_device_to_the_rank(bundle):
    assert json.loads((bundle / "configs/multi_gpu_train.json").read_text()) == {"device": None}


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
