"""Small pieces that most families share: assembling a material, colours of wear, a direction to lie in."""

from __future__ import annotations

import math

import numpy as np

from farm.surfaces import noise
from farm.surfaces.material import Material


def material(
    albedo: np.ndarray,
    height: np.ndarray,
    gloss: np.ndarray | float,
    family: str,
    phrase: str,
    grain_rad: float = 0.0,
    foreground: np.ndarray | None = None,
) -> Material:
    """The maps as one material, in the right types; ``gloss`` may be one number."""
    shape = height.shape
    return Material(
        albedo=np.clip(albedo, 0.003, 0.98).astype(np.float32),
        height=np.ascontiguousarray(height, np.float32),
        gloss=np.ascontiguousarray(np.broadcast_to(np.clip(gloss, 0, 1), shape), np.float32).copy(),
        foreground=np.ones(shape, bool) if foreground is None else np.ascontiguousarray(foreground, bool),
        family=family,
        phrase=phrase,
        grain_rad=grain_rad,
    )


def pick(rng: np.random.Generator, *options: str) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def direction(rng: np.random.Generator, upright: float = 0.5) -> float:
    """An angle in radians: along x or y (a few degrees off) with probability ``upright``, else any."""
    if rng.random() < upright:
        return float(rng.integers(2)) * math.pi / 2 + rng.normal(0, 0.05)
    return rng.uniform(0, math.pi)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two positive bounds, as likely to be in any octave as in any other."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def grime(rng: np.random.Generator, size_px: int, cells: float, amount: float) -> np.ndarray:
    """Brightness factor of uneven soiling: 1 where clean, down to about 1 - ``amount`` in blotches."""
    blotch = noise.fractal(rng, size_px, cells, octaves=4, gain=0.6)
    return np.asarray(1 - amount * noise.smoothstep(blotch, 0.2, 2.4), np.float32)


def specks(rng: np.random.Generator, size_px: int, cells: float, share: float, sharp: float = 0.3) -> np.ndarray:
    """0..1 coverage by small round specks: about ``share`` of ``cells``-by-``cells`` sites carry one."""
    first, _, owner = noise.worley(rng, size_px, cells, jitter=0.9)
    radius = np.float32(0.42) * owner / np.float32(max(share, 1e-3))
    size = np.where(owner < share, radius, np.float32(-1))
    return noise.smoothstep(size - first, -0.02, sharp * 0.3)
