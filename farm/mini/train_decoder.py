"""The decoder's training beside a fixed block encoder: squared error, then absolute error, in pixels."""

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from farm.mini.blocks import build_blocks_vae, fit_blocks, set_encoder
from farm.mini.data import Pool, draw_crops
from farm.mini.recipe import Recipe


class DecoderTask:
    """Give back random crops (any turn, no caption needed) from their block transform."""

    name = "vae"

    def __init__(self, recipe: Recipe, pool: Pool) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool = recipe.decoder, pool
        vae = build_blocks_vae(recipe.decoder.latent_channels, recipe.decoder.blocks, recipe.decoder.width)
        set_encoder(vae, fit_blocks(pool.images, recipe.decoder.latent_channels, seed=recipe.seed))
        vae.encoder.requires_grad_(False)
        self.vae: AutoencoderTiny = vae.to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"vae": self.vae})

    def groups(self, lr: float) -> list[dict[str, object]]:
        """One group: the decoder's weights at the same rate."""
        return [{"params": list(self.vae.decoder.parameters()), "lr": lr}]

    def loss(self, step: int, draw: torch.Generator) -> dict[str, Tensor]:
        """Mean squared error until ``absolute_from`` of the steps, mean absolute error after it."""
        x = draw_crops(self.pool, self.recipe.loop.batch_size, self.recipe.crop_px, draw)
        with torch.no_grad():
            z = self.vae.encoder(x).float()
        y = self.vae.decoder(z).float()
        terms = {"l1": (y - x).abs().mean(), "mse": (y - x).square().mean()}
        late = step >= self.recipe.absolute_from * self.recipe.loop.steps
        return terms | {"loss": terms["l1"] if late else terms["mse"] * 4}
