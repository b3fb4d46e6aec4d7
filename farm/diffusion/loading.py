"""A checked diffusers folder → its networks and tokenizers, in the family that its parts say.

One text encoder: Stable Diffusion 1.x and 2.x, InstructPix2Pix (twice the latent channels enter its U-Net). Two:
Stable Diffusion XL. Sizes are compared with each other, so that parts of two models are refused by name.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.utils import logging as transformers_logging

from farm.errors import WeightsError
from farm.model_files import read_json, silenced

_CLASSES: dict[str, Any] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    "UNet2DConditionModel": UNet2DConditionModel,
}


@dataclass(frozen=True)
class Networks:
    """What a folder holds; encoders and tokenizers in the order in which their states are joined."""

    unet: Any
    vae: Any
    encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    zero_empty: bool  # the empty prompt is zeros and not encoded


def load_networks(folder: Path, dtype: torch.dtype) -> Networks:
    """Networks of a folder that ``weights.model_folder`` has checked; ``WeightsError`` where parts do not fit."""
    index = read_json(folder / "model_index.json")
    ends = [end for end in ("", "_2") if f"text_encoder{end}" in index]
    with quiet():
        networks = Networks(
            unet=_load(index, folder, "unet", torch_dtype=dtype),
            vae=_load(index, folder, "vae", torch_dtype=torch.float32),
            encoders=tuple(_load(index, folder, f"text_encoder{end}", dtype=dtype) for end in ends),
            tokenizers=tuple(_load_tokenizer(folder / f"tokenizer{end}") for end in ends),
            zero_empty=len(ends) > 1 and bool(index.get("force_zeros_for_empty_prompt", True)),
        )
    _check_unet(folder, networks)
    _check_vocabularies(folder, networks)
    return networks


def quiet() -> AbstractContextManager[None]:
    """Silence progress bars and load reports of the two libraries; what matters in them is checked and raised."""
    return silenced(diffusers_logging, transformers_logging)


def _load(index: dict[str, Any], folder: Path, part: str, **dtype: torch.dtype) -> Any:
    network = _CLASSES[index[part][1]]
    try:
        loaded, info = network.from_pretrained(
            str(folder / part), use_safetensors=True, local_files_only=True, output_loading_info=True, **dtype
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder / part}: cannot be loaded as {network.__name__}: {error}") from error
    missing = sorted(str(key) for name in ("missing_keys", "mismatched_keys") for key in info[name])
    if missing:
        raise WeightsError(
            f"{folder / part}: {len(missing)} tensor(s) of {network.__name__} are missing or of another shape, "
            f"first {missing[0]}; the weights must be made by the config beside them"
        )
    return loaded


def _load_tokenizer(folder: Path) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder}: cannot be loaded as CLIPTokenizer: {error}") from error


def _check_unet(folder: Path, networks: Networks) -> None:
    config, channels = networks.unet.config, int(networks.vae.config.latent_channels)
    width = sum(int(encoder.config.hidden_size) for encoder in networks.encoders)
    two = len(networks.encoders) > 1
    pooled = int(networks.encoders[-1].config.projection_dim) if two else 0
    sizes = 6 * (config.addition_time_embed_dim or 0)  # height and width, three times
    for name, found, right in (
        ("in_channels", config.in_channels, (channels, 2 * channels)),
        ("out_channels", config.out_channels, (channels,)),
        ("cross_attention_dim", config.cross_attention_dim, (width,)),
        ("addition_embed_type", config.addition_embed_type, ("text_time" if two else None,)),
        ("class_embed_type", config.class_embed_type, (None,)),
        ("encoder_hid_dim_type", config.encoder_hid_dim_type, (None,)),
        (
            "projection_class_embeddings_input_dim",
            config.projection_class_embeddings_input_dim,
            (pooled + sizes if two else None,),
        ),
    ):
        if found not in right:
            raise WeightsError(
                f"{folder}: unet {name} is {found}; it must be {' or '.join(map(str, right))}, since the vae has "
                f"{channels} latent channels and the text {len(networks.encoders)} encoder(s), {width} wide"
            )


def _check_vocabularies(folder: Path, networks: Networks) -> None:
    for encoder, tokenizer in zip(networks.encoders, networks.tokenizers, strict=True):
        if len(tokenizer) > encoder.config.vocab_size:
            raise WeightsError(
                f"{folder}: the tokenizer has {len(tokenizer)} tokens but the text encoder "
                f"{encoder.config.vocab_size}; take both from one model"
            )
