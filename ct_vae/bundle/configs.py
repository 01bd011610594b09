"""Configurations of a bundle, in the format of MONAI's config parser."""

from __future__ import annotations

from typing import Any

from ct_vae.config.model_folder import ModelFolderConfig
from ct_vae.config.run import RunConfig

Config = dict[str, Any]
_TASKS = {
    "inference": "reconstruct",
    "encode": "encode",
    "decode": "decode",
    "evaluate": "evaluate",
}
# Default options of `ct-vae evaluate`, which users can change.
_EVALUATION: Config = {
    "_target_": "ct_vae.evaluation.settings.build_settings",
    "windows": [],
    "metrics": [],
    "protocol": None,
    "masks": [],
    "labels": None,
    "label_names": None,
    "datalist": None,
    "panels": True,
    "report": True,
    "full": False,
    "write_masks": False,
    "phantom": False,
}
# Approximate number of samples per epoch: MONAI counts epochs, this package counts samples.
_EPOCH_SAMPLES = 1000

LOGGING = """[loggers]
keys=root

[handlers]
keys=consoleHandler

[formatters]
keys=fullFormatter

[logger_root]
level=INFO
handlers=consoleHandler

[handler_consoleHandler]
class=StreamHandler
level=INFO
formatter=fullFormatter
args=(sys.stdout,)

[formatter_fullFormatter]
format=%(asctime)s - %(name)s - %(levelname)s - %(message)s
"""


def bundle_configs(config: ModelFolderConfig, run: RunConfig) -> dict[str, Config]:
    """Return all configurations by file name.

    Args:
        config: Configuration of the model.
        run: Configuration of its training run, without paths.
    """
    files = {f"{name}.json": case_config(config, task) for name, task in _TASKS.items()}
    files["train.json"] = train_config(config, run)
    # Merged with the previous one: each rank uses the GPU with its number.
    files["multi_gpu_train.json"] = {"device": None}
    return files


def case_config(config: ModelFolderConfig, task: str) -> Config:
    """Return the configuration of a workflow that processes all cases in ``dataset_dir``."""
    wishes = config.inference
    tree: Config = {
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/dataset'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$'cuda:0' if __import__('torch').cuda.is_available() else 'cpu'",
        "network_def": _network(config, task),
        "inferer": {
            "_target_": "ct_vae.inference.exact_inferer.ExactInferer",
            "tiling": wishes.tiling,
            "tile": wishes.tile,
            "overlap": wishes.overlap,
            "max_memory_gb": wishes.max_memory_gb,
        },
        "codec": {
            "_target_": "ct_vae.inference.codec.load_codec",
            "model_folder": "$@bundle_root + '/models'",
            "device": "@device",
            "tiling": "$@inferer.tiling",
        },
        "dataset": {
            "_target_": "ct_vae.bundle.CaseDataset",
            "path": "@dataset_dir",
            "latents": task == "decode",
        },
        "evaluator": {
            "_target_": "ct_vae.bundle.CaseRunner",
            "task": task,
            "codec": "@codec",
            "dataset": "@dataset",
            "output_dir": "@output_dir",
        },
        "run": ["$@evaluator.run()"],
    }
    if task == "evaluate":
        tree["evaluation"] = _EVALUATION
        tree["evaluator"]["evaluation"] = "@evaluation"
    return tree


def train_config(config: ModelFolderConfig, run: RunConfig) -> Config:
    """Return the configuration of a workflow that trains the same architecture."""
    settings = run.as_json()
    settings.pop("notes", None)
    if not settings["data"]["val_share"]:
        # The default does not have to be stated for other data either.
        settings["data"].pop("val_share")
    data = {"settings": "@settings", "dataset_dir": "@dataset_dir"}
    epochs = max(1, round(run.training.samples / _EPOCH_SAMPLES))
    length = "$@train#trainer#max_epochs * @train#trainer#epoch_samples"
    return {
        "bundle_root": ".",
        "dataset_dir": "",
        "output_dir": "$@bundle_root + '/runs/train'",
        "device": "$'cuda:0' if __import__('torch').cuda.is_available() else 'cpu'",
        "settings": settings,
        "network_def": _network(config, "reconstruct"),
        "train": {
            "dataset": {"_target_": "ct_vae.bundle.training_patches", **data, "samples": length},
            "inferer": {"_target_": "monai.inferers.SimpleInferer"},
            "trainer": {
                "_target_": "ct_vae.bundle.Trainer",
                "settings": "@settings",
                "dataset": "@train#dataset",
                "output_dir": "@output_dir",
                "max_epochs": epochs,
                "epoch_samples": max(1, round(run.training.samples / epochs)),
                "val_dataset": "@validate#dataset",
                "device": "@device",
                "dataset_dir": "@dataset_dir",
            },
        },
        "validate": {"dataset": {"_target_": "ct_vae.bundle.validation_volumes", **data}},
        "run": ["$@train#trainer.run()"],
    }


def _network(config: ModelFolderConfig, task: str) -> Config:
    part = "reconstruct" if task == "evaluate" else task
    return {
        "_target_": "ct_vae.bundle.build_part",
        "part": part,
        "model": config.model.model_dump(mode="json", exclude={"ckpt_path"}),
        "preprocess": config.preprocess.model_dump(mode="json"),
    }
