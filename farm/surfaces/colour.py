"""Colours in linear light: random tints within a range, and ramps between them."""

from __future__ import annotations

import colorsys

import numpy as np

Range = tuple[float, float]


def linear(red: float, green: float, blue: float) -> np.ndarray:
    """An sRGB colour (0..1 each) as linear float32 (3,)."""
    srgb = np.array([red, green, blue], np.float32)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def tint(rng: np.random.Generator, hue: Range, saturation: Range, value: Range) -> np.ndarray:
    """A random colour, linear float32 (3,), from HSV ranges as seen on screen (hue in turns, may leave 0..1)."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return linear(red, green, blue)


def grey(rng: np.random.Generator, value: Range, tinge: float = 0.04) -> np.ndarray:
    """A near-neutral colour, a little warm or cool."""
    return tint(rng, (0.0, 1.0), (0.0, tinge), value)


def any_colour(rng: np.random.Generator, value: Range = (0.2, 0.9)) -> np.ndarray:
    """Any hue, from muted to saturated."""
    return tint(rng, (0.0, 1.0), (0.05, 0.35) if rng.random() < 0.5 else (0.3, 0.85), value)


def shaded(colour: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """A colour (3,) under a brightness field (H, W): float32 (H, W, 3), clipped to a physical albedo."""
    return np.clip(colour * factor[..., None], 0.0, 0.98).astype(np.float32)


def mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``first`` where ``share`` (H, W) is 0, ``second`` where it is 1; each a colour (3,) or a map (H, W, 3)."""
    weight = np.asarray(share, np.float32)[..., None]
    return np.asarray(first + (second - first) * weight, np.float32)
