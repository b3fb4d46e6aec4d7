"""Three ways from a photograph and a text to another photograph, in latent space (card 000 section 3).

    instruct   InstructPix2Pix (Brooks et al. 2023, arXiv 2211.09800): from pure noise; the network sees the source
    sdedit     SDEdit (Meng et al. 2022, arXiv 2108.01073): from the source noised to a level, nothing holds it back
    inpaint    Blended Latent Diffusion (Avrahami et al. 2023, arXiv 2206.02779): the same, but outside the mask the
               noised source comes back at every level

All are deterministic DDIM after the first noise. Latents are float32 (B, C, h, w); ``m`` is bool (B, 1, h, w).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from farm.diffusion.backbone import Backbone
from farm.diffusion.ddim import Predict, add_noise, sample
from farm.diffusion.latents import blend
from farm.diffusion.schedule import Level
from farm.diffusion.text import Text


class TextGuidance:
    """e(empty) + g [e(text) - e(empty)] (Ho and Salimans 2022, arXiv 2207.12598); g = 1 asks for e(text) alone."""

    def __init__(self, backbone: Backbone, prompts: Sequence[str], guidance: float) -> None:
        self._backbone, self._guidance, self.evaluations = backbone, guidance, 0
        texts = [backbone.embed_prompts(prompts)]
        if guidance != 1:
            texts.insert(0, backbone.embed_prompts([""] * len(prompts)))
        self._copies, self._texts = len(texts), Text.cat(texts)

    def __call__(self, z: Tensor, level: Level) -> Tensor:
        """Predicted noise of ``z`` (B, C, h, w); counts one or two evaluations of each row."""
        self.evaluations += self._copies
        eps = self._backbone.predict(torch.cat([z] * self._copies), level.time, self._texts)
        if self._copies == 1:
            return eps
        empty, text = eps.chunk(2)
        return empty + self._guidance * (text - empty)


class DualGuidance:
    """Guided by image and text at once, with an 8-channel U-Net; ``source`` is what the network sees of the source.

    ``source`` (B, C, h, w) is the autoencoder's posterior mode, not scaled, and all zeros where there is no image:
    so the network was trained.
    """

    def __init__(
        self, backbone: Backbone, prompts: Sequence[str], source: Tensor, image_guidance: float, guidance: float
    ) -> None:
        self._backbone, self._scales, self.evaluations = backbone, (image_guidance, guidance), 0
        empty = backbone.embed_prompts([""] * len(prompts))
        self._texts = Text.cat([empty, empty, backbone.embed_prompts(prompts)])
        self._sources = torch.cat([torch.zeros_like(source), source, source])

    def __call__(self, z: Tensor, level: Level) -> Tensor:
        """Predicted noise of ``z`` (B, C, h, w); counts three evaluations of each row."""
        self.evaluations += 3
        eps = self._backbone.predict(torch.cat([z] * 3), level.time, self._texts, extra=self._sources)
        neither, image, both = eps.chunk(3)
        return dual(neither, image, both, *self._scales)


def dual(neither: Tensor, image: Tensor, both: Tensor, image_guidance: float, guidance: float) -> Tensor:
    """e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)]: Eq. (3) of arXiv 2211.09800."""
    return neither + image_guidance * (image - neither) + guidance * (both - image)


def seen_source(backbone: Backbone, z0: Tensor) -> Tensor:
    """Scaled latents as an 8-channel U-Net sees them: the posterior mode as the autoencoder gives it."""
    config = backbone.vae.config
    return z0 / float(config.scaling_factor) + float(getattr(config, "shift_factor", None) or 0.0)


def sdedit(predict: Predict, z0: Tensor, noise: Tensor, levels: Sequence[Level]) -> Tensor:
    """Noise ``z0`` to the last of ``levels`` and denoise it down to the first."""
    return sample(predict, add_noise(z0, noise, levels[-1].abar), levels)


def inpaint(predict: Predict, z0: Tensor, noise: Tensor, m: Tensor, levels: Sequence[Level]) -> Tensor:
    """The same inside ``m``; outside, the latent at every level is ``z0`` noised to it, bit for bit.

    At the end it is ``z0`` itself. One draw of noise serves all levels, so that what the network sees outside moves
    straight from noise to source.
    """

    def held(z: Tensor, index: int) -> Tensor:
        return blend(add_noise(z0, noise, levels[index].abar) if index else z0, z, m)

    return sample(predict, add_noise(z0, noise, levels[-1].abar), levels, held)
