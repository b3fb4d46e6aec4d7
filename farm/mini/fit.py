"""The recipe's trainings, what each learns from, and the folders that come of them.

Everything is kept in one build folder: ``pool/``, ``vae.pt``, ``latents.pt``, ``unet.pt``, ``clip.pt``. Workers call
these functions with its path, so all of them must see the folder.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from farm.fitting.loop import Fit, read_ema
from farm.fitting.task import Task
from farm.mini.data import Pool, fill_shard, load_pool
from farm.mini.export import write_clip, write_diffusion
from farm.mini.networks import build_text_encoder, build_unet, build_vae
from farm.mini.recipe import Network, Recipe
from farm.mini.tokenizer import encode, write_tokenizer
from farm.mini.train_unet import UnetTask
from farm.mini.train_vae import VaeTask, encode_pool, latent_scale


def render_shard(recipe: Recipe, folder: Path, index: int) -> None:
    """Render shard ``index`` of the pool, unless it is there."""
    from farm.surfaces import render_batch

    cv2.setNumThreads(1)
    fill_shard(folder / "pool", recipe.pool.shards()[index], recipe.pool.size_px, render_batch)


def build_task(recipe: Recipe, folder: Path, network: Network) -> Task:
    """What ``network`` learns, from the pool in ``folder``; the noise predictor needs ``latents.pt`` too."""
    cv2.setNumThreads(1)
    if network == "clip":
        return _clip_task(recipe, folder)
    pool = load_pool(folder / "pool", recipe.pool)
    if network == "vae":
        return VaeTask(recipe, pool)
    ids, count = token_ids(recipe, pool, 77)
    return UnetTask(recipe, pool, load_latents(folder)[0], ids, count)


def _clip_task(recipe: Recipe, folder: Path) -> Task:
    from farm.mini.clip_pairs import load_pairs
    from farm.mini.train_clip import ClipTask  # open_clip is slow to load

    with TemporaryDirectory() as place:
        tokenizer = write_tokenizer(Path(place), recipe.merges, recipe.clip.context)
    return ClipTask(recipe, load_pairs(folder / "pool", recipe.pool), tokenizer)


def fit_alone(recipe: Recipe, folder: Path, network: Network, until_s: float | None = None) -> Fit:
    """Train ``network`` in this process, without Ray; resumed where ``folder`` has a checkpoint.

    ``until_s`` ends the call after so many seconds, with a checkpoint.
    """
    torch.set_num_threads(recipe.threads)
    path = folder / f"{network}.pt"
    fit = Fit(build_task(recipe, folder, network), recipe.loop(network), recipe.seed)
    fit.resume(path)
    fit.run(lambda now: now.save(path), until_s)
    return fit


def token_ids(recipe: Recipe, pool: Pool, context: int) -> tuple[dict[str, Tensor], int]:
    """Token ids of every distinct caption of the pool and of "", and the size of the vocabulary."""
    with TemporaryDirectory() as folder:
        tokenizer = write_tokenizer(Path(folder), recipe.merges)
    captions = ["", *sorted(set(pool.captions))]
    return dict(zip(captions, encode(tokenizer, captions, context), strict=True)), len(tokenizer)


def cache_latents(recipe: Recipe, folder: Path) -> None:
    """Encode the pool with the trained autoencoder into ``latents.pt``, unless it is there."""
    path = folder / "latents.pt"
    if path.is_file():
        return
    torch.set_num_threads(recipe.threads)
    latents = encode_pool(trained_vae(recipe, folder), load_pool(folder / "pool", recipe.pool))
    part = path.with_suffix(".part")
    torch.save(latents, part)
    os.replace(part, path)


def load_latents(folder: Path) -> tuple[Tensor, float]:
    """The pool's latents at unit variance, and the scaling factor that gives it."""
    latents = torch.load(folder / "latents.pt", weights_only=True)
    scale = latent_scale(latents)
    return latents * scale, scale


def trained_vae(recipe: Recipe, folder: Path, scale: float = 1.0) -> Any:
    """The autoencoder with the EMA weights of ``vae.pt``, in evaluation mode."""
    vae: Any = build_vae(recipe.vae, recipe.pool.size_px, scale).to(memory_format=torch.channels_last)
    nn.ModuleDict({"vae": vae}).load_state_dict(read_ema(folder / "vae.pt"))
    return vae.eval()


def noise_predictor(recipe: Recipe, vocabulary: int, weights: dict[str, Tensor]) -> tuple[Any, Any]:
    """U-Net and text encoder with ``weights`` (those of ``UnetTask.networks``), in evaluation mode."""
    unet = build_unet(recipe.unet, recipe.vae.latent_channels, recipe.pool.size_px)
    text = build_text_encoder(recipe.unet, vocabulary)
    nn.ModuleDict({"unet": unet, "text_encoder": text}).load_state_dict(weights)
    return unet.eval(), text.eval()


def export_diffusion(recipe: Recipe, folder: Path, out: Path) -> None:
    """Write ``out/diffusion``, a diffusers folder, from the EMA weights of ``vae.pt`` and ``unet.pt``."""
    part = out / ".diffusion.part"
    vocabulary = len(write_tokenizer(part / "tokenizer", recipe.merges))
    unet, text = noise_predictor(recipe, vocabulary, read_ema(folder / "unet.pt"))
    write_diffusion(part, recipe, trained_vae(recipe, folder, load_latents(folder)[1]), unet, text)
    _replace(part, out / "diffusion")


def export_clip(recipe: Recipe, folder: Path, out: Path) -> None:
    """Write ``out/clip``, an open_clip folder, from the EMA weights of ``clip.pt``."""
    from farm.mini.train_clip import build_clip

    part = out / ".clip.part"
    clip: Any = build_clip(recipe, len(write_tokenizer(part, recipe.merges, recipe.clip.context)))
    nn.ModuleDict({"clip": clip}).load_state_dict(read_ema(folder / "clip.pt"))
    write_clip(part, recipe, clip.eval())
    _replace(part, out / "clip")


def _replace(part: Path, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
