"""The networks of the embedded models, untrained, as diffusers and transformers classes.

Latent diffusion: Rombach et al. 2022 (arXiv 2112.10752). Epsilon prediction, scaled-linear betas 0.00085 to 0.012
over 1000 steps, f = 8 KL autoencoder, text enters by cross-attention.
"""

from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from farm.mini.recipe import UnetRecipe, VaeRecipe
from farm.mini.tokenizer import CONTEXT


def build_vae(recipe: VaeRecipe, size_px: int, scaling_factor: float = 1.0) -> AutoencoderKL:
    """The autoencoder; ``scaling_factor`` is 1/std of its latents once it is trained."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=recipe.channels,
        layers_per_block=1,
        latent_channels=recipe.latent_channels,
        norm_num_groups=recipe.groups,
        sample_size=size_px,
        mid_block_add_attention=False,
        scaling_factor=scaling_factor,
    )


def build_unet(recipe: UnetRecipe, latent_channels: int, size_px: int) -> UNet2DConditionModel:
    """The noise predictor: self- and cross-attention at the two finer levels and in the middle."""
    return UNet2DConditionModel(
        sample_size=size_px // 8,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=recipe.channels,
        layers_per_block=1,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=recipe.heads,
        norm_num_groups=recipe.groups,
    )


def build_text_encoder(recipe: UnetRecipe, vocabulary: int) -> CLIPTextModel:
    """The text encoder of the diffusion model; the last two ids of ``vocabulary`` are start and end."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.text_width,
        intermediate_size=4 * recipe.text_width,
        projection_dim=recipe.text_width,
        num_hidden_layers=recipe.text_layers,
        num_attention_heads=recipe.text_heads,
        max_position_embeddings=CONTEXT,
        hidden_act="quick_gelu",
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return CLIPTextModel(config)


def build_scheduler() -> Any:
    """DDIM (Song et al. 2020) on the schedule that the model is trained with."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
