"""Tiny seeded image towers of the real classes of timm and transformers, saved as the folders that the farm opens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
)

LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {**LAYERS, "image_size": 32, "patch_size": 8}
TEXT = {**LAYERS, "vocab_size": 64, "bos_token_id": 62, "eos_token_id": 63}
CROPPED = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
SQUASHED = {"size": {"height": 32, "width": 32}}


def save_timm(folder: Path, architecture: str = "test_vit", **settings: Any) -> Path:
    """A folder with config.json and model.safetensors; ``settings`` go to the model."""
    timm.models.save_for_hf(seeded(timm.create_model, architecture, **settings), folder, safe_serialization=True)
    return folder


def save_tensors(path: Path, architecture: str, **settings: Any) -> Path:
    """A file of a timm model's weights alone."""
    state = seeded(timm.create_model, architecture, **settings).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def save_transformers(folder: Path, kind: str) -> Path:
    """A folder with config.json, model.safetensors and preprocessor_config.json."""
    build, processor = KINDS[kind]
    seeded(build).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def seeded(build: Callable[..., Any], *settings: Any, **named: Any) -> Any:
    """What ``build`` makes of the settings, with the same random weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(*settings, **named).eval()


KINDS: dict[str, tuple[Callable[[], Any], Any]] = {
    "dinov2": (
        lambda: Dinov2Model(Dinov2Config(**LAYERS, image_size=32, patch_size=8)),
        BitImageProcessor(**CROPPED),
    ),
    "vit": (lambda: ViTModel(ViTConfig(**VISION)), ViTImageProcessor(**SQUASHED)),
    "vit_without_pooler": (
        lambda: ViTModel(ViTConfig(**VISION), add_pooling_layer=False),
        ViTImageProcessor(**SQUASHED),
    ),
    "mae": (lambda: ViTMAEModel(ViTMAEConfig(**VISION)), ViTImageProcessor(**SQUASHED)),
    "clip_vision": (lambda: CLIPVisionModel(CLIPVisionConfig(**VISION)), CLIPImageProcessor(**CROPPED)),
    "clip": (
        lambda: CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)),
        CLIPImageProcessor(**CROPPED),
    ),
    "siglip_vision": (lambda: SiglipVisionModel(SiglipVisionConfig(**VISION)), SiglipImageProcessor(**SQUASHED)),
}
