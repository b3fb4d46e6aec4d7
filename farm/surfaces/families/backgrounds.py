"""What objects lie on, and the shadow they throw."""

from __future__ import annotations

import math

import cv2
import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import any_colour, grey, shaded, tint
from farm.surfaces.families.build import log_uniform, pick, specks


def tray(rng: np.random.Generator, size_px: int, dark: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Albedo and height of a supporting plane: dark with probability ``dark``, else light or coloured."""
    draw = rng.random()
    if draw < dark:
        colour = tint(rng, (0.0, 1.0), (0.0, 0.2), (0.05, 0.35))
    elif draw < dark + (1 - dark) * 0.6:
        colour = grey(rng, (0.55, 0.95), 0.06)
    else:
        colour = any_colour(rng, (0.2, 0.85))
    style = pick(rng, "plain", "grain", "grain", "belt", "lined")
    grain = noise.fractal(rng, size_px, log_uniform(rng, 16, 50), octaves=3, gain=0.8)
    grain = noise.standard(grain + rng.uniform(0.0, 0.8) * noise.spectral(rng, size_px, 64, slope=1.0))
    cloud = noise.fractal(rng, size_px, 2, octaves=3)
    factor, height = 1 + 0.06 * cloud, 0.05 * cloud
    if style != "plain":
        factor, height = factor + rng.uniform(0.02, 0.1) * grain, height + rng.uniform(0.05, 0.3) * grain
    _, v = noise.along(size_px, rng.uniform(0, math.pi))
    if style == "belt":
        factor = factor + 0.08 * np.sin(2 * math.pi * rng.uniform(10, 40) * v)
    elif style == "lined":  # the far edge of the tray
        factor = factor * (1 + rng.uniform(-0.6, 1.5) * noise.smoothstep(v, 0.4, rng.uniform(0.41, 0.46)))
    factor = factor - 0.3 * specks(rng, size_px, 24, rng.uniform(0, 0.05))
    return shaded(colour, factor), np.asarray(height, np.float32)


def shadow(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Brightness factor of the shadow that an object with ``cover`` (0..1) throws on the plane around it."""
    size_px = cover.shape[0]
    angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(0.005, 0.05)
    move = np.array(
        [[1, 0, math.cos(angle) * distance * size_px], [0, 1, math.sin(angle) * distance * size_px]], np.float32
    )
    thrown = cv2.warpAffine(cover, move, (size_px, size_px))
    soft = noise.blur(np.maximum(thrown, cover), rng.uniform(0.008, 0.035))
    return np.asarray(1 - rng.uniform(0.25, 0.75) * soft, np.float32)
