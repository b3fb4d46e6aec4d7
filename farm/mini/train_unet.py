"""The noise predictor and its text encoder, trained together on cached latents.

Loss: epsilon prediction (Ho et al. 2020, Eq. (14)) weighted by min-SNR-gamma (Hang et al. 2023, arXiv 2303.09556,
section 3.4): w = min(SNR, gamma) / SNR for an epsilon loss. Defects are small: where a picture shows one, the squared
error counts ``1 + defect_weight`` times.
"""

from typing import Any

import torch
from torch import Tensor, nn

from farm.fitting.task import Part
from farm.mini.data import Pool, draw_rows, focused
from farm.mini.networks import build_scheduler, build_text_encoder, build_unet
from farm.mini.recipe import Recipe


class UnetTask:
    """Predict the noise in a latent from its caption."""

    name = "unet"

    def __init__(self, recipe: Recipe, pool: Pool, latents: Tensor, ids_of: dict[str, Tensor], vocabulary: int) -> None:
        """``latents``: scaled to unit variance; ``ids_of``: token ids of every caption, and of ""."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool, self.latents, self.ids_of = recipe.unet, pool, latents, ids_of
        self.among = focused(pool, recipe.pool.focus)
        unet = build_unet(recipe.unet, latents.shape[1], recipe.pool.size_px).to(memory_format=torch.channels_last)
        text = build_text_encoder(recipe.unet, vocabulary)
        self.networks = nn.ModuleDict({"unet": unet, "text_encoder": text})
        self.predict: Any = torch.compile(unet) if recipe.unet.compiled else unet
        self.changed = torch.from_numpy(pool.changed)
        self.abar = build_scheduler().alphas_cumprod

    def to(self, device: torch.device) -> None:
        """Move the networks and the noise levels; the latents stay where they are."""
        self.networks.to(device)
        self.abar = self.abar.to(device)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """One group: every weight at the same rate."""
        return [{"params": list(self.networks.parameters()), "lr": lr}]

    def loss(self, _step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        """Weighted squared error of the predicted noise."""
        count, device = self.recipe.loop.batch_size, self.abar.device
        rows = draw_rows(self.pool, self.among, count, draw)
        noise = torch.randn((count, *self.latents.shape[1:]), generator=draw)
        t = torch.randint(len(self.abar), (count,), generator=draw)
        dropped = torch.rand(count, generator=draw) < self.recipe.drop_caption
        mine = part.rows(count)
        rows, dropped, t, noise = rows[mine], dropped[mine], t[mine].to(device), noise[mine].to(device)
        abar = self.abar[t].view(-1, 1, 1, 1)
        x = abar.sqrt() * self.latents[rows].float().to(device) + (1 - abar).sqrt() * noise
        captions = ["" if drop else self.pool.captions[row] for row, drop in zip(rows.tolist(), dropped, strict=True)]
        predicted = self.predict(x, t, self._embed(captions), return_dict=False)[0].float()
        emphasis = 1 + self.recipe.defect_weight * self.changed[rows].float().unsqueeze(1).to(device)
        error = (emphasis * (predicted - noise).square()).mean(dim=(1, 2, 3))
        return {"loss": (self._weight(abar.flatten()) * error).mean(), "error": error.mean().detach()}

    def _embed(self, captions: list[str]) -> Tensor:
        distinct = sorted(set(captions))
        ids = torch.stack([self.ids_of[text] for text in distinct]).to(self.abar.device)
        hidden = self.networks["text_encoder"](ids)[0]
        return hidden[torch.tensor([distinct.index(text) for text in captions])]

    def _weight(self, abar: Tensor) -> Tensor:
        if self.recipe.min_snr == 0:
            return torch.ones_like(abar)
        snr = abar / (1 - abar)
        return snr.clamp(max=self.recipe.min_snr) / snr
