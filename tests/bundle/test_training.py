import json

import monai.bundle
import pytest
import torch

from ct_vae.bundle import Trainer, run_config
from ct_vae.models.model_folder import load_model_folder
from tests._small import SMALL_MODEL

# MONAI says so of every configuration; this one is of the test's own making.
pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")

SHORT = {
    "settings#data": {"phantoms": {"train": 1, "val": 1, "spacing_mm": [8.0, 8.0, 8.0]}},
    "settings#training#patch_size": [8, 8, 8],
    "settings#training#warmup_samples": 2,
    "train#trainer#max_epochs": 2,
    "train#trainer#epoch_samples": 2,
}


def test_train_runs_the_trainer_and_gives_a_model_folder(bundle, tmp_path):
    monai.bundle.run(
        config_file=str(bundle / "configs/train.json"),
        workflow_type="train",
        logging_file=False,
        bundle_root=str(bundle),
        output_dir=str(tmp_path / "run"),
        device="cpu",
        **SHORT,
    )
    loaded = load_model_folder(tmp_path / "run")
    assert loaded.config.samples_seen == 4
    assert loaded.config.model == SMALL_MODEL


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
