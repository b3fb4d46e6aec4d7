"""A branch that steers a frozen U-Net by an image: Zhang et al. 2023 (arXiv 2302.05543), as card 004 section 4 has it.

The branch is a copy of the U-Net's encoder and middle; its outputs pass zero convolutions and are added to the skips
and the middle, so a fresh branch changes nothing. The hint enters through convolutions 3 -> 16 -> 32 -> 96 -> 256 with
three strides of 2, i.e. at the resolution of latents with factor 8.
"""

from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from farm.diffusion.text import Text
from farm.errors import WeightsError
from farm.ids import generator

Residuals = tuple[tuple[Tensor, ...], Tensor]  # one for each skip, and the middle
HINT_CHANNELS = (16, 32, 96, 256)


def build_control(unet: Any, factor: int, seed: int) -> ControlNetModel:
    """A trainable float32 branch for ``unet``, on its device. Raises ``WeightsError`` unless ``factor`` is 8."""
    if factor != 2 ** (len(HINT_CHANNELS) - 1):
        raise WeightsError(f"the control branch reads its hint at factor 8; this model's autoencoder has {factor}")
    if getattr(unet, "peft_config", None):
        raise ValueError("the U-Net has a low-rank adapter; merge_lora() first, the branch copies plain weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "control").integers(2**63)))
        branch = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    branch.requires_grad_(True)
    return branch.to(device=unet.device, dtype=torch.float32)


def control_residuals(
    branch: Any, z: Tensor, times: Tensor, text: Text, hint: Tensor, scale: float, added: dict[str, Tensor] | None
) -> Residuals:
    """What the branch adds to each skip and to the middle, ``scale`` times, in the branch's dtype."""
    dtype = branch.dtype
    given = None if added is None else {name: value.to(dtype) for name, value in added.items()}
    down, middle = branch(
        z.to(dtype),
        times,
        encoder_hidden_states=text.states.to(dtype),
        controlnet_cond=hint.to(z.device, dtype),
        conditioning_scale=scale,
        added_cond_kwargs=given,
        return_dict=False,
    )
    return tuple(down), middle
