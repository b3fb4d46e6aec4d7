"""The embedded models: a small Stable Diffusion and a small CLIP for industrial surfaces, and the recipe behind them.

Importing this package loads no network and no torch; the modules beside this file do.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

from farm.errors import WeightsError


def weights_dir(kind: Literal["diffusion", "clip"] = "diffusion") -> Path:
    """The folder of the embedded weights: a diffusers folder, or an open_clip ``local-dir`` folder.

    Raises ``WeightsError`` where the weights are not part of this installation.
    """
    folder = Path(__file__).parent / "weights" / kind
    marker = folder / ("model_index.json" if kind == "diffusion" else "open_clip_config.json")
    if not marker.is_file():
        raise WeightsError(f"{folder}: holds no {marker.name}; train them with farm fit-mini")
    return folder


@cache
def clip_fingerprint() -> str:
    """16 hexadecimal characters over the weights of the embedded CLIP."""
    weights = weights_dir("clip") / "open_clip_model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
