"""Tiny seeded models of the real classes, saved as diffusers folders: the real doors open them, in milliseconds."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from farm.diffusion.schedule import Level

START, END = "<|startoftext|>", "<|endoftext|>"
TEXT_WIDTH, TEXT_TOKENS = 32, 16
SECOND_WIDTH, POOLED_WIDTH = 48, 24  # of Stable Diffusion XL's second text encoder

Kind = Literal["sd15", "sd21", "sdxl", "instruct"]
PIPELINES: dict[Kind, str] = {
    "sd15": "StableDiffusionPipeline",
    "sd21": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "instruct": "StableDiffusionInstructPix2PixPipeline",
}


def tiny_backbone_folder(
    folder: Path,
    latent_channels: int = 4,
    vae: Literal["kl", "tiny"] = "kl",
    seed: int = 0,
    scheduler: dict[str, Any] | None = None,
    kind: Kind = "sd15",
) -> Path:
    """A folder of random weights: factor 8, text width 32 (sdxl: 32 + 48), the schedule of ``kind`` unless given."""
    vocabulary = _vocabulary()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models = {"unet": _unet(kind, latent_channels), "vae": _autoencoder(vae, latent_channels)}
        texts = {"text_encoder": _text_encoder(kind, vocabulary)}
        if kind == "sdxl":
            texts["text_encoder_2"] = _second_text_encoder(vocabulary)
    for name, model in models.items():
        model.save_pretrained(folder / name, safe_serialization=True)
    for name, text in texts.items():
        _write_text_encoder(folder / name, text)
        pad = END if name == "text_encoder" and kind != "sd21" else "!"
        _write_tokenizer(folder / name.replace("text_encoder", "tokenizer"), vocabulary, pad)
    default = {**SD15_SCHEDULER, "prediction_type": "v_prediction"} if kind == "sd21" else SD15_SCHEDULER
    _write(folder / "scheduler" / "scheduler_config.json", default if scheduler is None else scheduler)
    index = {"_class_name": PIPELINES[kind], "scheduler": ["diffusers", "PNDMScheduler"]}
    for name, model in models.items():
        index[name] = ["diffusers", type(model).__name__]
    for name, text in texts.items():
        index[name] = ["transformers", type(text).__name__]
        index[name.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
    _write(folder / "model_index.json", index)
    return folder


SD15_SCHEDULER: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}


def surface(rows: int, size_px: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (rows, size, size, 3): a smooth wave of its own phase and colour in each row, with fine grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] / size_px * 2 * np.pi
    waves = [np.sin(x * rng.integers(1, 4) + y * rng.integers(1, 4) + rng.uniform(0, 6)) for _ in range(rows)]
    pixels = 128 + 60 * np.stack(waves)[..., None] * rng.uniform(0.3, 1, (rows, 1, 1, 3))
    return np.clip(pixels + rng.normal(0, 3, (*pixels.shape[:3], 3)), 0, 255).astype(np.uint8)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def toy(z: Tensor, level: Level) -> Tensor:
    """A smooth, nonlinear network that mixes channels and heeds the time."""
    mixed = torch.einsum("dc,bchw->bdhw", noise(4, 4, seed=9) * 0.4, z)
    return torch.tanh(mixed + 0.5 * torch.roll(z, 1, -1)) * (0.5 + level.time / 1000)


def _unet(kind: Kind, latent_channels: int) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    settings: dict[str, Any] = {"attention_head_dim": 2, "cross_attention_dim": TEXT_WIDTH}
    if kind == "sd21":
        settings.update(attention_head_dim=[2, 4], use_linear_projection=True)
    if kind == "sdxl":
        settings.update(
            attention_head_dim=[2, 4],
            use_linear_projection=True,
            cross_attention_dim=TEXT_WIDTH + SECOND_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=POOLED_WIDTH + 6 * 8,
            transformer_layers_per_block=[1, 2],
        )
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=2 * latent_channels if kind == "instruct" else latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        **settings,
    )


def _autoencoder(vae: Literal["kl", "tiny"], latent_channels: int) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    if vae == "kl":
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            latent_channels=latent_channels,
            norm_num_groups=4,
            scaling_factor=0.5,
        )
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
        latent_channels=latent_channels,
    )


def _text_encoder(kind: Kind, vocabulary: dict[str, int]) -> Any:
    from transformers.models.clip.modeling_clip import CLIPTextModel

    return CLIPTextModel(_text_config(vocabulary, TEXT_WIDTH, hidden_act="gelu" if kind == "sd21" else "quick_gelu"))


def _second_text_encoder(vocabulary: dict[str, int]) -> Any:
    """As Stable Diffusion XL has it, with the end token's id written as configs of 2022 do."""
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    config = _text_config(
        vocabulary, SECOND_WIDTH, hidden_act="gelu", projection_dim=POOLED_WIDTH, eos_token_id=2, num_hidden_layers=3
    )
    return CLIPTextModelWithProjection(config)


def _text_config(vocabulary: dict[str, int], width: int, **settings: Any) -> Any:
    from transformers.models.clip.configuration_clip import CLIPTextConfig

    known: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": TEXT_TOKENS,
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
    return CLIPTextConfig(**{**known, **settings})


def _write_text_encoder(folder: Path, text: Any) -> None:
    text.config.save_pretrained(folder)
    state = text.state_dict()
    if "text_projection.weight" not in state:
        state = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in state.items()}
    state["text_model.embeddings.position_ids"] = torch.arange(TEXT_TOKENS)[None]  # as checkpoints of 2022 have it
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _vocabulary() -> dict[str, int]:
    """CLIP's 256 byte letters, alone and ending a word, then start and end: no merges."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    return {token: index for index, token in enumerate([*letters, *(f"{c}</w>" for c in letters), START, END])}


def _write_tokenizer(folder: Path, vocabulary: dict[str, int], pad: str) -> None:
    _write(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_TOKENS, "pad_token": pad}
    _write(folder / "tokenizer_config.json", {**settings, "bos_token": START, "eos_token": END, "unk_token": END})


def _write(path: Path, tree: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, indent=2))
