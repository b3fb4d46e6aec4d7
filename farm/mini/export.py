"""Trained networks -> the folders that stock diffusers and open_clip load: fp16 safetensors, no pickles."""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from farm.mini.networks import build_scheduler
from farm.mini.recipe import Recipe
from farm.mini.tokenizer import write_tokenizer


def write_diffusion(folder: Path, recipe: Recipe, vae: nn.Module, unet: nn.Module, text_encoder: nn.Module) -> None:
    """Write the diffusers folder (``model_index.json``, vae, unet, text_encoder, tokenizer, scheduler)."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=write_tokenizer(folder / "tokenizer", recipe.merges),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def folder_mb(folder: Path) -> float:
    """Size of everything in ``folder``, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def clip_config(recipe: Recipe, vocabulary: int) -> dict[str, object]:
    """The open_clip configuration of the small CLIP, as ``open_clip_config.json`` wants it."""
    model = {
        "embed_dim": recipe.clip.embed_dim,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": recipe.clip.image_pool,
            "timm_proj": recipe.clip.image_head,
            "image_size": recipe.clip.image_px,
        },
        "text_cfg": {
            "context_length": recipe.clip.context,
            "vocab_size": vocabulary,
            "hf_tokenizer_name": "defectfarm-mini",
            "width": recipe.clip.text_width,
            "heads": recipe.clip.text_heads,
            "layers": recipe.clip.text_layers,
        },
        "custom_text": True,
    }
    preprocess = {
        "mean": [127 / 255] * 3,
        "std": [128 / 255] * 3,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    return {"model_cfg": model, "preprocess_cfg": preprocess}


def write_clip(folder: Path, recipe: Recipe, model: nn.Module) -> None:
    """Write the open_clip folder: ``open_clip.create_model_and_transforms("local-dir:<folder>")`` loads it."""
    from safetensors.torch import save_file

    tokenizer = write_tokenizer(folder, recipe.merges, recipe.clip.context)
    (folder / "open_clip_config.json").write_text(json.dumps(clip_config(recipe, len(tokenizer)), indent=2) + "\n")
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / "open_clip_model.safetensors")
