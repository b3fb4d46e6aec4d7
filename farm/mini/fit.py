"""The whole recipe, one network after the other: pool, autoencoder, noise predictor, CLIP, folders.

    python -m farm.mini.fit farm/mini/recipe.yaml build/mini --out farm/mini/weights

Every part skips what is done and resumes what was cut off; ``until_s`` ends a call early with a checkpoint.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from farm.mini.data import Pool, Render, fill_pool, load_pool, to_tensor, to_uint8
from farm.mini.export import write_clip, write_diffusion
from farm.mini.loop import Fit
from farm.mini.recipe import Recipe, load_recipe
from farm.mini.tokenizer import encode, write_tokenizer
from farm.mini.train_clip import ClipTask
from farm.mini.train_unet import UnetTask
from farm.mini.train_vae import VaeTask, encode_pool, latent_scale, latents_of
from farm.surfaces import render_batch


def autoencoder(recipe: Recipe, folder: Path, pool: Pool) -> Fit:
    """The autoencoder's training, resumed where there is a checkpoint in ``folder``."""
    fit = Fit(VaeTask(recipe, pool), recipe.vae.loop, recipe.seed)
    fit.resume(folder)
    return fit


def fit_vae(recipe: Recipe, folder: Path, until_s: float | None = None) -> Fit:
    """Train the autoencoder on the pool in ``folder/pool``."""
    pool = load_pool(folder / "pool", recipe.pool)
    fit = autoencoder(recipe, folder, pool)
    fit.run(folder, until_s, lambda now: _show_vae(now, pool, folder))
    return fit


def fit_unet(recipe: Recipe, folder: Path, until_s: float | None = None) -> tuple[Fit, float]:
    """Train the noise predictor on the latents of the autoencoder in ``folder``; also gives the scaling factor."""
    pool = load_pool(folder / "pool", recipe.pool)
    latents, scale = load_latents(recipe, folder, pool)
    tokenizer = write_tokenizer(folder / "tokenizer", recipe.merges)
    task = UnetTask(recipe, pool, latents, token_ids(tokenizer, pool, 77), len(tokenizer))
    fit = Fit(task, recipe.unet.loop, recipe.seed)
    fit.resume(folder)
    fit.run(folder, until_s)
    return fit, scale


def fit_clip(recipe: Recipe, folder: Path, until_s: float | None = None) -> Fit:
    """Train the small CLIP."""
    pool = load_pool(folder / "pool", recipe.pool)
    tokenizer = write_tokenizer(folder / "tokenizer", recipe.merges)
    task = ClipTask(recipe, pool, token_ids(tokenizer, pool, recipe.clip.context), len(tokenizer))
    fit = Fit(task, recipe.clip.loop, recipe.seed)
    fit.resume(folder)
    fit.run(folder, until_s)
    return fit


def token_ids(tokenizer: object, pool: Pool, context: int) -> dict[str, Tensor]:
    """Token ids of every distinct caption of the pool, and of ""."""
    captions = ["", *sorted(set(pool.captions))]
    return dict(zip(captions, encode(tokenizer, captions, context), strict=True))


def load_latents(recipe: Recipe, folder: Path, pool: Pool) -> tuple[Tensor, float]:
    """The pool's latents at unit variance and their scaling factor; encoded once, then read from ``latents.pt``."""
    path = folder / "latents.pt"
    if not path.is_file():
        torch.save(encode_pool(autoencoder(recipe, folder, pool).finished()["vae"], pool), path)
    latents = torch.load(path, weights_only=True)
    scale = latent_scale(latents)
    return latents * scale, scale


def export(recipe: Recipe, out: Path, vae: Fit, unet: Fit, scale: float, clip: Fit | None) -> None:
    """Write ``out/diffusion`` and ``out/clip`` from the EMA weights."""
    networks: Any = unet.finished()
    autoencoder: Any = vae.finished()["vae"]
    autoencoder.register_to_config(scaling_factor=scale)
    write_diffusion(out / "diffusion", recipe, autoencoder, networks["unet"], networks["text_encoder"])
    if clip is not None:
        write_clip(out / "clip", recipe, clip.finished()["clip"])


def fill(recipe: Recipe, folder: Path, render: Render) -> None:
    """Render the pool (in this process; shards that exist are kept)."""
    fill_pool(folder / "pool", recipe.pool, render)


def main() -> None:
    """Run a recipe from start to folders; called again, it goes on where it was cut off."""
    parser = argparse.ArgumentParser(description="Train the embedded diffusion model from a recipe.")
    parser.add_argument("recipe", help="YAML of farm.mini.recipe.Recipe")
    parser.add_argument("folder", type=Path, help="where pool and checkpoints are kept")
    parser.add_argument("--out", type=Path, required=True, help="where the diffusers folder is written")
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    torch.set_num_threads(recipe.threads)
    cv2.setNumThreads(1)
    fill(recipe, given.folder, render_batch)
    vae = fit_vae(recipe, given.folder)
    unet, scale = fit_unet(recipe, given.folder)
    export(recipe, given.out, vae, unet, scale, None)


@torch.no_grad()
def _show_vae(fit: Fit, pool: Pool, folder: Path) -> None:
    rows = np.linspace(0, len(pool) - 1, 16).astype(int)
    x = to_tensor(pool.images[rows])
    vae: Any = fit.task.networks["vae"]
    y = to_uint8(vae.decode(latents_of(vae, x)).sample)
    grid = np.concatenate([np.concatenate([a, b]) for a, b in zip(pool.images[rows], y, strict=True)], axis=1)
    error = (pool.images[rows].astype(float) - y) ** 2
    print(
        f"vae step {fit.step}: {10 * np.log10(255**2 / error.mean()):.2f} dB",
        fit.curve[-1] if fit.curve else "",
        flush=True,
    )
    cv2.imwrite(str(folder / "vae.png"), grid[..., ::-1])


if __name__ == "__main__":
    main()
