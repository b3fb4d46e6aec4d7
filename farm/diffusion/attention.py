"""Masked cross-attention (card 001 section 4): tokens inside the mask read text C1, tokens outside read text C2.

A_i = softmax_j(Q_i K_j / sqrt(d) + B_ij) with K = [K(C1); K(C2)] and B_ij = 0 where (i in m and j in C1) or
(i not in m and j in C2), else -inf. One attention over both texts, so it costs one pass and works in any U-Net of
the Stable Diffusion family. The mask is max-pooled for each resolution, so that a defect of one cell never vanishes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor
from torch.nn import functional as F

Regions = dict[int, Tensor]  # number of latent tokens N -> bool (B, N): whether the token is inside the mask


def mask_pyramid(m: Tensor) -> Regions:
    """The mask (B, 1, h, w) at each resolution down to one cell, halved as a U-Net halves (odd sides rounded up)."""
    level, regions = m.float(), {}
    while True:
        regions[level.shape[-2] * level.shape[-1]] = level.flatten(1) > 0
        if level.shape[-2] == level.shape[-1] == 1:
            return regions
        level = F.max_pool2d(level, 2, ceil_mode=True)


def allowed(inside: Tensor, text_tokens: int) -> Tensor:
    """Bool (B, N, 2L): which of the 2L = ``text_tokens`` keys [C1; C2] each of N latent tokens may read."""
    first = torch.arange(text_tokens, device=inside.device) < text_tokens // 2
    return inside[..., None] == first


class RegionAttention(AttnProcessor2_0):
    """Attention processor of diffusers: plain without ``regions``, masked cross-attention with them.

    ``regions`` arrives through ``cross_attention_kwargs``; the text must then be (B, 2L, D), C1 before C2.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        regions: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        if regions is not None and encoder_hidden_states is not None:
            attention_mask = allowed(regions[hidden_states.shape[1]], encoder_hidden_states.shape[1])
        result: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return result
