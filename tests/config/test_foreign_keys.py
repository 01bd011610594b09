import pytest

from ct_vae.config.foreign_keys import _ADVICE, _KEYS, _NAMES, _NOTES, _OTHERS, meant_key
from ct_vae.config.load import _keys, _section_at, parse_config
from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError
from ct_vae.models import AutoencoderKL

# What people type who come from MONAI, MAISI, diffusers, Lightning, nnU-Net and CompVis.
TYPED = {
    "training.learning_rate": "training.lr",
    "training.initial_lr": "training.lr",
    "training.epochs": "training.samples (the total number of patches, since there are no epochs)",
    "training.max_epochs": "training.samples",
    "training.num_train_epochs": "training.samples",
    "training.max_train_steps": "training.samples",
    "training.batchsize": "training.batch_size",
    "training.train_batch_size": "training.batch_size",
    "training.gradient_accumulation_steps": "training.micro_batch_size",
    "training.accumulate_grad_batches": "training.micro_batch_size",
    "training.mixed_precision": "training.precision",
    "training.amp": "training.precision",
    "training.max_grad_norm": "training.grad_clip",
    "training.gradient_clip_val": "training.grad_clip",
    "training.ema": "training.ema_samples",
    "training.use_ema": "training.ema_samples",
    "training.lr_scheduler": "training.schedule",
    "training.lr_warmup_steps": "training.warmup_samples",
    "training.num_workers": "training.workers",
    "training.adam_weight_decay": "training.weight_decay",
    "training.checkpointing_steps": "training.checkpoint_every",
    "training.val_interval": "training.save_every",
    "training.check_val_every_n_epoch": "training.save_every",
    "training.early_stop_patience": "training.patience",
    "training.disc_start": "training.adversarial_start_samples",
    "training.autoencoder_warm_up_n_epochs": "training.adversarial_start_samples",
    "training.adv_weight": "training.adversarial_weight",
    "training.kl_beta": "training.kl_weight",
    "training.recon_loss": "training.recon_type",
    "training.report_to": "training.tracker",
    "training.random_seed": "training.seed",
    "model.channels": "model.down_channels",
    "model.block_out_channels": "model.down_channels",
    "model.features_per_stage": "model.down_channels",
    "model.layers_per_block": "model.num_res_blocks",
    "model.n_conv_per_stage": "model.num_res_blocks",
    "model.latent_channels": "model.z_channels",
    "model.norm_num_groups": "model.norm_groups",
    "model.attention_levels": "model.attn_resolutions",
    "model.num_embeddings": "model.codebook_size",
    "model.embedding_dim": "model.embed_dim",
    "model.gradient_checkpointing": "model.checkpointing",
    "model.dims": "model.spatial_dims",
    "model.pretrained": "model.ckpt_path",
    "preprocess.pixdim": "preprocess.spacing_mm",
    "preprocess.a_min": "preprocess.window_hu",
    "preprocess.hu_range": "preprocess.window_hu",
    "preprocess.orientation": "preprocess.axcodes",
    "data.data_dir": "data.train",
    "data.val_files": "data.val",
    "data.cache_rate": "data.cache_dir",
    "data.data_list_file_path": "data.datalist",
    "data.transforms": "data.augment",
    "inference.roi_size": "inference.tile",
    "learning_rate": "training.lr",
    "network": "model",
    "trainer": "training",
}


def problem(path):
    *section, key = path.split(".")
    tree = {key: 1}
    for name in section:
        tree = {name: tree}
    with pytest.raises(ConfigError) as caught:
        parse_config(tree, "my.json")
    return caught.value.cause


@pytest.mark.parametrize("path", TYPED)
def test_a_key_of_another_project_is_answered_with_ours(path):
    assert problem(path).startswith(
        f"my.json: {path} is not a known key, did you mean {TYPED[path]}"
    )


def test_spelling_does_not_matter():
    assert meant_key("Learning-Rate") == meant_key("learningrate") == "training.lr"


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("training.optimizer", "the optimizer is AdamW"),
        ("training.gpus", "--device"),
        ("training.resume_from_checkpoint", "--resume"),
    ],
)
def test_what_is_no_setting_here_is_answered_with_advice(path, advice):
    assert advice in problem(path)


def test_the_table_names_keys_that_exist_and_hides_none():
    ours = set()
    for name in _keys(RunConfig):
        section = _section_at(RunConfig, [name])
        ours |= {name, *([f"{name}.{key}" for key in _keys(section)] if section else [])}
    assert set(_KEYS.values()) | set(_NOTES) <= ours
    foreign = " ".join([*_NAMES.values(), *_ADVICE.values()]).split()
    assert not {key.split(".")[-1] for key in ours} & set(foreign)
    assert len(foreign) == len({*_KEYS, *_OTHERS}) > 40


def test_constructors_of_models_suggest_their_own_arguments():
    with pytest.raises((ConfigError, TypeError), match="down_channels") as caught:
        AutoencoderKL(block_out_channels=(8, 8))
    assert "model.down_channels" not in str(caught.value)
