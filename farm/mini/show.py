"""What a training has learned so far, as one picture: the hooks that ``farm fit-mini`` calls at every checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from farm.diffusion.backbone import Backbone
from farm.diffusion.latents import Pixels
from farm.diffusion.schedule import read_schedule
from farm.fitting.loop import Fit
from farm.mini.data import to_tensor, to_uint8
from farm.mini.fit import load_latents, noise_predictor, trained_vae
from farm.mini.networks import build_scheduler
from farm.mini.recipe import Recipe
from farm.mini.sampling import sample
from farm.mini.tokenizer import write_tokenizer
from farm.mini.train_vae import latents_of


@torch.no_grad()
def show_vae(fit: Fit, count: int = 16) -> Pixels:
    """``count`` pictures of the pool over what the autoencoder gives back: uint8 (2 H, count x W, 3)."""
    task: Any = fit.task
    rows = np.linspace(0, len(task.pool) - 1, count).astype(int)
    images = task.pool.images[rows]
    with fit.averaged() as networks:
        vae: Any = networks["vae"]
        given = to_uint8(vae.decode(latents_of(vae, to_tensor(images).to(fit.device))).sample)
    return np.concatenate([np.concatenate([a, b]) for a, b in zip(images, given, strict=True)], axis=1)


def show_unet(fit: Fit, recipe: Recipe, folder: Path, captions: int = 8, seeds: int = 4, steps: int = 20) -> Pixels:
    """Samples of the EMA weights, a caption a column, a seed a row: uint8 (seeds x H, captions x W, 3)."""
    task: Any = fit.task
    known = sorted({task.pool.captions[row] for row in task.among})
    chosen = [known[place] for place in np.linspace(0, len(known) - 1, captions).astype(int)]
    scale = load_latents(folder)[1]
    tokenizer = write_tokenizer(folder / "tokenizer", recipe.merges)
    unet, text = noise_predictor(recipe, len(tokenizer), fit.ema)
    schedule = read_schedule(build_scheduler().config, "the embedded schedule")
    backbone = Backbone(unet, trained_vae(recipe, folder, scale), text, tokenizer, schedule, "in training")
    backbone.to(fit.device, torch.float32)
    texts, noises = chosen * seeds, [seed for seed in range(seeds) for _ in chosen]
    images = sample(backbone, texts, noises, steps=steps, size_px=recipe.pool.size_px)
    return np.concatenate([np.concatenate(list(row), axis=1) for row in np.split(images, seeds)])
