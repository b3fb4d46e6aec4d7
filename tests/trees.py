"""Small pictures and masks for folder layouts."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_photo(path: Path, side: int = 16) -> None:
    """A picture of its own: its pixels are a function of its path's last three parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = [ord(letter) for letter in "/".join(path.parts[-3:])]
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save_mask(path: Path, side: int = 16, filled: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((side, side), np.uint8)
    mask[4:8, 4:8] = 255 * filled
    Image.fromarray(mask).save(path)
