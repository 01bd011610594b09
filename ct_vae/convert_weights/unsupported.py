"""Autoencoders of other programs that are recognized and not converted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ct_vae.convert_weights.architecture import State
from ct_vae.errors import WeightsError

SUPPORTED = (
    "supported are AutoencoderKL of CompVis and diffusers (Stable Diffusion 1 to 3, SDXL, Flux), "
    "AutoencoderKL of MONAI, and MAISI"
)
# Classes of diffusers, by their names in a configuration.
_CLASSES = {
    "AutoencoderKLWan": "Wan",
    "AutoencoderKLQwenImage": "Qwen-Image",
    "AutoencoderKLCogVideoX": "CogVideoX",
    "AutoencoderKLHunyuanVideo": "HunyuanVideo",
    "AutoencoderKLHunyuanImage": "HunyuanImage",
    "AutoencoderKLLTXVideo": "LTX-Video",
    "AutoencoderKLLTX2Video": "LTX-Video 2",
    "AutoencoderKLMochi": "Mochi",
    "AutoencoderKLAllegro": "Allegro",
    "AutoencoderKLCosmos": "Cosmos",
    "AutoencoderKLMagvit": "EasyAnimate",
    "AutoencoderKLTemporalDecoder": "Stable Video Diffusion",
    "AutoencoderDC": "DC-AE",
    "AutoencoderTiny": "TAESD",
    "AutoencoderOobleck": "Stable Audio",
    "AsymmetricAutoencoderKL": "an asymmetric autoencoder",
    "ConsistencyDecoderVAE": "a consistency decoder",
    "VQModel": "a quantized autoencoder",
}
# Names that only these families have, the most particular first.
_NAMES = {
    r".*\.spatial_res_block\..*": "Stable Video Diffusion",
    r".*\.conv_y\.conv\.weight": "CogVideoX",
    r"latents_mean|per_channel_statistics\..*|.*\.time_embedder\..*": "LTX-Video",
    r"encoder\.conv_in\.conv_s\.weight": "Cosmos",
    r"encoder\.temp_conv_in\..*": "Allegro",
    r"encoder\.down_blocks\.\d+\.convs\..*": "EasyAnimate",
    r"decoder\.condition_encoder\..*": "an asymmetric autoencoder",
    r"encoder\..*\.snake\d\..*": "Stable Audio",
    r"decoder_unet\..*": "a consistency decoder",
    r".*\.(norm\d|residual\.\d+|norm_out)\.gamma": "Wan or Qwen-Image",
    r".*\.(conv_inverted|to_qkv_multiscale|depth_conv)\..*": "DC-AE",
    r"encoder\.down_blocks\.\d+\.\d+\..*|encoder\.(stages|project_in)\..*": "DC-AE",
    r"(encoder|decoder)\.layers\.\d+\..*": "TAESD",
    r"\d+\.(weight|conv\.\d+\.weight)": "TAESD",
    r"(encoder|decoder)\..*\.conv\d?\.conv\.weight": "a causal video model such as HunyuanVideo",
    r"(encoder|decoder)\.conv_in\.conv\.weight": "a causal video model such as HunyuanVideo",
}


def refuse_unsupported(state: State, config: Mapping[str, Any]) -> None:
    """Refuse weights of families that have another architecture, by their name.

    Args:
        state: All tensors of a checkpoint.
        config: Configuration of the source format.

    Raises:
        WeightsError: With the family and with what is supported.
    """
    kind = str(config.get("_class_name") or "")
    family = _family(state)
    if family is not None:
        raise WeightsError(
            f"the weights are of {family}, whose architecture is not converted", SUPPORTED
        )
    if kind in _CLASSES:
        raise WeightsError(
            f"the configuration is of {kind} ({_CLASSES[kind]}), whose architecture is not "
            "converted",
            SUPPORTED,
        )


def _family(state: State) -> str | None:
    # MONAI wraps its convolutions under the same names, and numbers its blocks.
    if any(re.match(r"(.*\.)?(encoder|decoder)\.blocks\.\d+\.", str(name)) for name in state):
        return None
    for pattern, family in _NAMES.items():
        whole = re.compile(rf"(first_stage_model\.|vae\.|module\.)?({pattern})")
        if any(whole.fullmatch(str(name)) for name in state):
            return family
    return None
