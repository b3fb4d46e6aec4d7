"""Captions → pictures, with any backbone: deterministic DDIM under classifier-free guidance, no photograph needed.

Guidance (Ho and Salimans 2022, arXiv 2207.12598): e(negative) + g (e(caption) - e(negative)), both from one call of the
network on a doubled batch. Every batch is padded to one size, so that a row depends on its caption and seed alone. The
networks compute in the backbone's own dtype (``compute.dtype``); latents and schedule stay float32.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from farm.diffusion import ddim
from farm.diffusion.backbone import Backbone
from farm.diffusion.latents import Pixels, row_noise, to_pixels
from farm.diffusion.schedule import Level
from farm.diffusion.text import Text


@torch.no_grad()
def sample(
    backbone: Backbone,
    captions: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 20,
    guidance: float = 3.0,
    size_px: int = 128,
    negative: str = "",
    batch_size: int = 8,
) -> Pixels:
    """B captions and B seeds -> uint8 (B, size_px, size_px, 3). ``guidance`` 1 reads the caption alone, at half cost.

    Raises ``ValueError`` where captions and seeds differ in number or the backbone's factor does not divide the size.
    """
    if len(captions) != len(seeds):
        raise ValueError(f"{len(captions)} captions but {len(seeds)} seeds; each picture needs one of both")
    if size_px % backbone.factor:
        raise ValueError(f"size_px is {size_px}; it must be a multiple of the backbone's factor {backbone.factor}")
    levels = backbone.schedule.levels(steps)
    side = size_px // backbone.factor
    images = np.empty((len(captions), size_px, size_px, 3), np.uint8)
    for start in range(0, len(captions), batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), len(captions) - 1)
        noise = row_noise([seeds[row] for row in rows], "sample", (backbone.latent_channels, side, side))
        predict = _Guided(backbone, [captions[row] for row in rows], negative, guidance)
        z = ddim.sample(predict, noise.to(backbone.device), levels)
        images[start : start + batch_size] = to_pixels(backbone.decode(z))[: len(captions) - start]
    return images


class _Guided:
    """Predicted noise of one batch under its captions."""

    def __init__(self, backbone: Backbone, captions: Sequence[str], negative: str, guidance: float) -> None:
        self._backbone, self._guidance = backbone, guidance
        self._text = backbone.embed_prompts(captions)
        if guidance != 1:
            self._text = Text.cat([backbone.embed_prompts([negative] * len(captions)), self._text])

    def __call__(self, z: Tensor, level: Level) -> Tensor:
        if self._guidance == 1:
            return self._backbone.predict(z, level.time, self._text)
        without, under = self._backbone.predict(torch.cat([z, z]), level.time, self._text).chunk(2)
        return without + self._guidance * (under - without)
