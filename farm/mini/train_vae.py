"""The autoencoder's training: L1 in pixels, EfficientNet-Lite0 features, a trace of KL."""

from typing import Any

import torch
from torch import Tensor, nn

from farm.mini.data import Pool, draw_crops, to_tensor
from farm.mini.networks import build_vae
from farm.mini.perceptual import Perceptual
from farm.mini.recipe import Recipe


class VaeTask:
    """Reconstruct random crops (any turn, no caption needed)."""

    name = "vae"

    def __init__(self, recipe: Recipe, pool: Pool) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool = recipe.vae, pool
        vae = build_vae(recipe.vae, recipe.pool.size_px).to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"vae": vae})
        self.perceptual = Perceptual() if recipe.vae.perceptual > 0 else None

    def groups(self, lr: float) -> list[dict[str, object]]:
        """One group: every weight at the same rate."""
        return [{"params": list(self.networks.parameters()), "lr": lr}]

    def loss(self, step: int, draw: torch.Generator) -> dict[str, Tensor]:
        """L1 + perceptual (late) + KL to the unit normal, averaged over pixels and latents."""
        vae: Any = self.networks["vae"]
        x = draw_crops(self.pool, self.recipe.loop.batch_size, self.recipe.crop_px, draw)
        posterior = vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=draw)
        y = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        terms = {"l1": (y - x).abs().mean(), "mse": (y - x).square().mean().detach()}
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        terms["kl"] = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        terms["loss"] = terms["l1"] + self.recipe.kl * terms["kl"]
        if self.perceptual is not None and step >= self.recipe.perceptual_from * self.recipe.loop.steps:
            terms["perceptual"] = self.perceptual(x, y)
            terms["loss"] = terms["loss"] + self.recipe.perceptual * terms["perceptual"]
        return terms


def latents_of(vae: Any, x: Tensor) -> Tensor:
    """Posterior means of an ``AutoencoderKL``, latents of an ``AutoencoderTiny``; not scaled."""
    coded = vae.encode(x)
    latents: Tensor = coded.latent_dist.mean if hasattr(coded, "latent_dist") else coded.latents
    return latents


@torch.no_grad()
def encode_pool(vae: Any, pool: Pool, batch_size: int = 32) -> Tensor:
    """(N, C, H/8, W/8) float16: the latent means of the whole pool, not yet scaled."""
    batches = [pool.images[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    latents = []
    for batch in batches:
        latents.append(latents_of(vae, to_tensor(batch)).half())
    return torch.cat(latents)


def latent_scale(latents: Tensor) -> float:
    """1 / standard deviation of the latents: the ``scaling_factor`` that gives them unit variance."""
    return 1.0 / float(latents.float().std())
