"""Keys that other projects use for what a key of the configuration means."""

from __future__ import annotations

# By key of the configuration: names in MONAI, MAISI, diffusers, transformers, Lightning, nnU-Net
# and CompVis. Case, underscores and hyphens do not matter.
_NAMES = {
    "model": "network net autoencoder autoencoder_def network_def model_config architecture vae",
    "model.attn_resolutions": "attention_levels attn_levels attention_resolutions with_attention",
    "model.base_ch": "ch base_channels base_num_features init_features n_base_channels",
    "model.checkpointing": "gradient_checkpointing use_checkpointing use_checkpoint",
    "model.ch_mult": "channel_mult channel_multipliers channels_mult",
    "model.ckpt_path": "checkpoint ckpt pretrained pretrained_model pretrained_weights weights "
    "pretrained_model_name_or_path load_from_checkpoint init_from trained_autoencoder_path",
    "model.codebook_size": "num_embeddings n_embed num_vq_embeddings n_codes num_codes",
    "model.down_channels": "channels num_channels block_out_channels features features_per_stage "
    "n_channels filters",
    "model.dropout": "dropout_rate dropout_p dropout_prob drop_rate",
    "model.embed_dim": "embedding_dim vq_embed_dim code_dim",
    "model.in_channels": "in_chans num_input_channels input_channels image_channels",
    "model.latent_type": "model_type autoencoder_type",
    "model.norm_groups": "norm_num_groups num_groups groups",
    "model.num_res_blocks": "num_res_layers layers_per_block num_res_units n_blocks_per_stage "
    "n_conv_per_stage depths",
    "model.out_channels": "out_chans num_output_channels output_channels",
    "model.spatial_dims": "dims dim dimensions ndim spatial_dimensions",
    "model.z_channels": "latent_channels latent_dim z_dim latent_size num_latent_channels",
    "preprocess": "preprocessing normalization intensity",
    "preprocess.axcodes": "orientation axcode",
    "preprocess.model_range": "b_min b_max output_range out_range",
    "preprocess.spacing_mm": "pixdim spacing target_spacing voxel_spacing voxel_size resolution_mm",
    "preprocess.window_hu": "a_min a_max hu_range hu_window intensity_range clip_range hu_min "
    "hu_max window clip",
    "data": "dataset datasets dataloader datamodule",
    "data.augment": "augmentation augmentations transforms data_augmentation train_transforms",
    "data.cache_dir": "cache cache_rate use_cache persistent_dataset cache_num",
    "data.datalist": "json_list data_list data_list_file_path datalist_file dataset_json",
    "data.train": "train_dir train_data train_data_dir train_files training_data data_dir "
    "data_root dataset_dir data_base_dir data_path",
    "data.val": "val_dir val_data val_files validation validation_data val_path",
    "data.val_share": "val_split validation_split val_frac val_fraction val_size",
    "training": "trainer training_args train_config optimization hyperparameters",
    "training.adversarial_start_samples": "disc_start disc_start_step discriminator_iter_start "
    "autoencoder_warm_up_n_epochs",
    "training.adversarial_weight": "adv_weight disc_weight disc_loss_weight gan_weight "
    "adversarial_loss_weight lambda_adv",
    "training.batch_size": "batchsize train_batch_size batch per_device_train_batch_size",
    "training.betas": "adam_beta1 adam_beta2 beta1 beta2",
    "training.checkpoint_every": "checkpointing_steps save_steps save_interval ckpt_interval "
    "every_n_train_steps save_every_n_epochs",
    "training.discriminator_lr": "lr_d disc_lr discriminator_learning_rate d_lr",
    "training.ema_samples": "ema use_ema ema_rate ema_kimg model_ema",
    "training.grad_clip": "max_grad_norm gradient_clip_val clip_grad_norm gradient_clipping "
    "clip_grad",
    "training.kl_weight": "beta kl_beta kld_weight kl_loss_weight lambda_kl",
    "training.log_every": "logging_steps log_interval log_every_n_steps print_freq",
    "training.lr": "learning_rate initial_lr base_lr base_learning_rate lr_g generator_lr "
    "max_lr lrate",
    "training.micro_batch_size": "gradient_accumulation_steps accumulate_grad_batches "
    "accumulation_steps grad_accum",
    "training.output_dir": "exp_name experiment_name run_name save_dir ckpt_dir model_dir "
    "default_root_dir output_folder results_folder logdir",
    "training.patch_size": "crop_size patch image_size img_size sample_size random_crop_size",
    "training.patience": "early_stopping early_stop_patience early_stopping_patience",
    "training.perceptual_weight": "lpips_weight perceptual_loss_weight perc_weight "
    "perceptual_scale lpips_scale",
    "training.precision": "amp mixed_precision fp16 bf16 use_amp",
    "training.recon_type": "loss loss_type recon_loss reconstruction_loss pixel_loss",
    "training.samples": "epochs epoch max_epochs num_epochs n_epochs num_train_epochs max_steps "
    "max_train_steps num_steps iterations max_iterations num_iterations_per_epoch steps",
    "training.save_every": "val_interval eval_steps validation_steps check_val_every_n_epoch "
    "val_check_interval val_every validate_every",
    "training.schedule": "scheduler lr_scheduler lr_schedule lr_scheduler_type",
    "training.seed": "random_seed random_state manual_seed seed_everything",
    "training.tracker": "report_to logger log_with wandb tensorboard tracking",
    "training.warmup_samples": "warmup_steps lr_warmup_steps num_warmup_steps warmup_epochs warmup",
    "training.weight_decay": "adam_weight_decay wd l2",
    "training.workers": "num_workers dataloader_num_workers n_workers num_threads",
    "inference": "sliding_window inferer sw",
    "inference.overlap": "sw_overlap tile_overlap tile_overlap_factor autoencoder_sliding_window_"
    "infer_overlap",
    "inference.tile": "roi_size sw_roi_size tile_size tile_sample_min_size window_size "
    "autoencoder_sliding_window_infer_size",
}
# What differs between the two, where a value cannot simply be copied.
_NOTES = {
    "model.attn_resolutions": "in downsampling factors",
    "model.z_channels": "and model.embed_dim",
    "training.adversarial_start_samples": "in samples",
    "training.checkpoint_every": "in samples",
    "training.ema_samples": "the half-life in samples; 0 disables the average",
    "training.log_every": "in samples",
    "training.micro_batch_size": "the size of a part of the batch; gradients are accumulated",
    "training.samples": "the total number of patches, since there are no epochs",
    "training.save_every": "in samples",
    "training.warmup_samples": "in samples",
}
_ADVICE = {
    "the optimizer is AdamW; set training.lr, training.betas and training.weight_decay": (
        "optimizer optim optimizer_name optimizer_type"
    ),
    "give --device on the command line, or start with torchrun for several GPUs": (
        "device devices gpus gpu accelerator strategy num_gpus n_gpu"
    ),
    "give --resume on the command line": "resume resume_from resume_from_checkpoint auto_resume",
}


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


_KEYS = {_plain(name): key for key, names in _NAMES.items() for name in names.split()}
_OTHERS = {_plain(name): text for text, names in _ADVICE.items() for name in names.split()}


def meant_key(key: str) -> str | None:
    """Return the key, with its section, that means the same as a key of another project.

    Args:
        key: Unknown key, without its section.
    """
    return _KEYS.get(_plain(key))


def note_on(key: str) -> str:
    """Return how values of a key differ from those of other projects; empty if they do not."""
    return f" ({_NOTES[key]})" if key in _NOTES else ""


def advice_on(key: str) -> str | None:
    """Return advice for a key of another project that is not a setting of configurations here."""
    return _OTHERS.get(_plain(key))
