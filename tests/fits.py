"""Small trainings: a line fitted to points, and a recipe of the embedded models that trains in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from farm.config.loop import LoopConfig
from farm.fitting.loop import Fit
from farm.fitting.task import Part
from farm.mini.recipe import ClipRecipe, PoolRecipe, Recipe, UnetRecipe, VaeRecipe


class Line:
    """A tiny network that learns y = 2 x0 - x1 from points that are drawn anew at each step."""

    name = "line"

    def __init__(self, batch_size: int = 8, log: Path | None = None, ends_at: int | None = None) -> None:
        """Steps are noted in ``log``; step ``ends_at`` raises while there is no file ``go`` beside it."""
        torch.manual_seed(7)
        self.networks = nn.ModuleDict({"net": nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))})
        self.networks["unused"] = nn.Linear(3, 1)
        self.batch_size, self.log, self.ends_at = batch_size, log, ends_at
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        self.networks.to(device)
        self.device = device

    def groups(self, lr: float) -> list[dict[str, object]]:
        return [{"params": list(self.networks.parameters()), "lr": lr}]

    def loss(self, step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        if self.log is not None:
            if step == self.ends_at and not (self.log.parent / "go").exists():
                raise RuntimeError("the worker ends here")
            with self.log.open("a") as file:
                file.write(f"{step}\n")
        rows = part.rows(self.batch_size)
        x = torch.randn((self.batch_size, 2), generator=draw)[rows].to(self.device)
        error = self.networks["net"](x)[:, 0] - (2 * x[:, 0] - x[:, 1])
        return {"loss": error.square().mean(), "absolute": error.abs().mean()}


def build_line(**settings: Any) -> Line:
    return Line(**settings)


def show_line(fit: Fit, size_px: int) -> np.ndarray:
    return np.full((size_px, size_px, 3), min(fit.step, 255), np.uint8)


def striped_pairs(seeds: Any, size_px: int = 128, surface: str | None = None) -> dict[str, Any]:
    """Striped grey plates; a white square is the defect."""
    rng = [np.random.default_rng(int(seed)) for seed in seeds]
    stripes = np.repeat(np.tile(np.repeat([40, 160], 8), size_px // 16)[None, :, None], size_px, 0)
    normal = np.stack([np.repeat(stripes + draw.integers(0, 30), 3, axis=2).astype(np.uint8) for draw in rng])
    image = normal.copy()
    image[:, 8:24, 8:24] = 250
    return {
        "normal": normal,
        "image": image,
        "surface": [surface or "plate"] * len(rng),
        "defect": ["stain"] * len(rng),
        "caption": ["a photo of a plate with a stain"] * len(rng),
        "normal_caption": ["a photo of a plate"] * len(rng),
    }


def tiny_recipe(steps: int = 30) -> Recipe:
    """A recipe that trains in seconds: 32 px pictures, a few channels."""
    loop = LoopConfig(steps=steps, batch_size=4, lr=3e-3, warmup=3, checkpoint_every=10, bf16=False, ema=0.9)
    return Recipe(
        merges=500,
        pool=PoolRecipe(pairs=6, shard_pairs=4, size_px=32, textile=False),
        vae=VaeRecipe(channels=(12, 48, 48, 48), latent_channels=4, groups=2, crop_px=32, perceptual=0, loop=loop),
        unet=UnetRecipe(
            channels=(16, 16, 32), heads=2, groups=8, text_width=16, text_layers=1, text_heads=2, loop=loop
        ),
        clip=ClipRecipe(text_width=16, text_layers=1, text_heads=2, image_px=32, loop=loop),
    )
