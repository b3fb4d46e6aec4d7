"""Pictures a second of the embedded models: generating at 128 px, 20 steps, guidance on, decoding included; embedding.

python benchmarks/mini_speed.py [--rounds 5] [--batches 2]      about 4 min on 2 cores

Generating: one process of two threads, and two processes of one thread each. Embedding, one process of two threads:
EfficientNet-Lite0 and, where its weights are there, the embedded CLIP. Loading and a warm-up are left out. Median of
the rounds, ``low`` and ``high`` their extremes. Bar: 1 generated picture a second, the better of the two ways.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.mini_pictures import BATCH, FIRST_SEED, SIDE_PX, Sampler, arguments, held_out, sampler, surfaces
from farm.config import ComputeConfig, EmbedConfig, ModelConfig
from farm.diffusion.backbone import load_backbone
from farm.embedders import load_embedder
from farm.embedders.batches import embed
from farm.embedders.openclip import preprocessing
from farm.embedders.preprocess import preprocess
from farm.errors import WeightsError
from farm.mini import weights_dir
from farm.mini.sampling import sample

BAR, CORES, EMBEDDED, EMBED_BATCH = 1.0, 2, 128, 16


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=2, help=f"of {BATCH} pictures for each core and round")
    given = parser.parse_args()
    settings = sampler(given)
    count = given.batches * BATCH * CORES
    figures: dict[str, Any] = {}
    print(f"two processes of one thread: {given.rounds} rounds of {count} pictures", flush=True)
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        pool.map(_make, [(settings, 1, BATCH, 0)] * CORES, chunksize=1)
        jobs = [(settings, 1, count // CORES, FIRST_SEED + core * count) for core in range(CORES)]
        paces = [pace(lambda: pool.map(_make, jobs, chunksize=1), count) for _ in range(given.rounds)]
        figures["generate.two_processes"] = _report.figure(paces, "images/s")
    print(f"one process of two threads: {given.rounds} rounds of {count} pictures", flush=True)
    _make((settings, CORES, BATCH, 0))
    job = (settings, CORES, count, FIRST_SEED)
    paces = [pace(lambda: _make(job), count) for _ in range(given.rounds)]
    figures["generate.two_threads"] = _report.figure(paces, "images/s")
    pictures = held_out(0, EMBEDDED, surfaces())["normal"].images
    for name, embedder in embedders().items():
        print(f"embedder {name}: {given.rounds} rounds of {EMBEDDED} pictures", flush=True)
        embedder(pictures[:EMBED_BATCH])
        paces = [pace(partial(embedder, pictures), EMBEDDED) for _ in range(given.rounds)]
        figures[f"embed.{name}"] = _report.figure(paces, "images/s")
    _report.write("mini_speed", figures, n=given.rounds)
    best = max(figure["value"] for name, figure in figures.items() if name.startswith("generate."))
    shown = ", ".join(f"{name} {figure['value']:.2f}" for name, figure in figures.items())
    print(f"{'PASS' if best >= BAR else 'FAIL'}: images/s: {shown}; bar {BAR:g} generated; {given.rounds} rounds")
    return 0 if best >= BAR else 1


def pace(work: Callable[[], object], count: int) -> float:
    """Pictures a second of ``work``, which makes ``count``."""
    clock = time.perf_counter()
    work()
    return count / (time.perf_counter() - clock)


def _make(job: tuple[Sampler, int, int, int]) -> int:
    """Generate as (settings, threads, pictures, first seed) say; only their number comes back."""
    given, threads, count, first = job
    compute = ComputeConfig.model_validate({"dtype": given.dtype, "threads": threads})
    captions = [f"a photo of {name.replace('_', ' ')}" for name in surfaces()]
    texts = [captions[row % len(captions)] for row in range(count)]
    seeds = range(first, first + count)
    made = sample(
        load_backbone(ModelConfig(), compute),
        texts,
        seeds,
        steps=given.steps,
        guidance=given.guidance,
        size_px=SIDE_PX,
        batch_size=BATCH,
    )
    return len(made)


def embedders() -> dict[str, Callable[[np.ndarray], object]]:
    """EfficientNet-Lite0, and the embedded CLIP where this checkout has its weights."""
    found: dict[str, Callable[[np.ndarray], object]] = {
        "efficientnet_lite0": load_embedder(EmbedConfig(), ComputeConfig(threads=CORES, batch_size=EMBED_BATCH))
    }
    try:
        return found | {"clip": clip(weights_dir("clip"))}
    except WeightsError:
        print("embedder clip: no weights in this checkout", flush=True)
        return found


def clip(folder: Path) -> Callable[[np.ndarray], object]:
    """The image tower of an open_clip folder, uint8 (B, H, W, 3) -> (B, D) unit vectors."""
    tower = open_clip.create_model(f"local-dir:{folder}").eval()
    settings = preprocessing(PreprocessCfg(**tower.visual.preprocess_cfg))
    dim = int(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"])

    def features(pixels_BCHW: torch.Tensor) -> torch.Tensor:
        return tower.encode_image(preprocess(pixels_BCHW, settings))

    return lambda images: embed(features, images, dim, EMBED_BATCH)


if __name__ == "__main__":
    sys.exit(main())
