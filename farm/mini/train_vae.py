"""The decoder's training beside a fixed block encoder: squared error, then absolute error and perceptual distances."""

from typing import Any

import torch
from torch import Tensor, nn

from farm.fitting.task import Part
from farm.mini.blocks import fit_blocks, set_encoder
from farm.mini.data import Pool, draw_crops, to_tensor
from farm.mini.networks import build_vae
from farm.mini.perceptual import Perceptual
from farm.mini.recipe import Recipe


class VaeTask:
    """Give back random crops (any turn, no caption needed) from their block transform."""

    name = "vae"

    def __init__(self, recipe: Recipe, pool: Pool) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool = recipe.vae, pool
        self.vae: Any = build_vae(recipe.vae, recipe.pool.size_px).to(memory_format=torch.channels_last)
        set_encoder(self.vae, fit_blocks(pool.images, recipe.vae.latent_channels, seed=recipe.seed))
        self.vae.encoder.requires_grad_(False)
        self.vae.quant_conv.requires_grad_(False)
        self.networks = nn.ModuleDict({"vae": self.vae})
        self.device = torch.device("cpu")
        compared = recipe.vae.perceptual > 0 or recipe.vae.texture > 0
        self.perceptual = Perceptual(recipe.vae.enlarge) if compared else None

    def to(self, device: torch.device) -> None:
        """Move the autoencoder and the network that compares."""
        self.networks.to(device)
        self.device = device
        if self.perceptual is not None:
            self.perceptual.to(device)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """One group: the decoder's weights at the same rate."""
        learned = [*self.vae.decoder.parameters(), *self.vae.post_quant_conv.parameters()]
        return [{"params": learned, "lr": lr}]

    def loss(self, step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        """Four times the squared error, later the absolute error; the perceptual distances join late."""
        recipe = self.recipe
        x = draw_crops(self.pool, recipe.loop.batch_size, recipe.crop_px, draw, part).to(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            z = self.vae.encode(x).latent_dist.mean
        y = self.vae.decode(z).sample.float()
        terms = {"l1": (y - x).abs().mean(), "mse": (y - x).square().mean()}
        late = step >= recipe.absolute_from * recipe.loop.steps
        loss = terms["l1"] if late else terms["mse"] * 4
        if self.perceptual is not None and step >= recipe.perceptual_from * recipe.loop.steps:
            terms["perceptual"], terms["texture"] = self.perceptual(x, y)
            loss = loss + recipe.perceptual * terms["perceptual"] + recipe.texture * terms["texture"]
        return terms | {"loss": loss}


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
