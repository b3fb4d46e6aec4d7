"""Masks without a surface: the outlines that rule-based synthesis fills."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farm.surfaces.defects import shapes
from farm.surfaces.defects.brush import between
from farm.surfaces.noise import fractal, grid

Outline = Callable[[np.random.Generator, int, shapes.Point], np.ndarray]

LEAST_SHARE, MOST_SHARE = 0.001, 0.2
TRIES = 40


def _scratch(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    cover = np.zeros((size_px, size_px), np.float32)
    angle, length = rng.uniform(0, np.pi), between(rng, 0.12, 0.8)
    for _ in range(int(rng.choice((1, 1, 1, 2, 4)))):
        x, y = middle + rng.normal(0, 0.03, 2)
        path = shapes.curve(rng, (x, y), angle + rng.normal(0, 0.1), length, rng.uniform(0, 1.2), rng.uniform(0, 0.08))
        width = max(between(rng, 0.008, 0.035), 1.2 / size_px)
        cover = np.maximum(cover, shapes.ribbon(size_px, path, shapes.taper(rng, len(path), width)))
    return cover


def _crack(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    width = max(between(rng, 0.008, 0.03), 1.2 / size_px)
    angle, length = rng.uniform(0, 2 * np.pi), between(rng, 0.2, 0.7)
    start = (middle[0] - length / 2 * np.cos(angle), middle[1] - length / 2 * np.sin(angle))
    return shapes.crack(rng, size_px, start, angle, length, width, int(rng.integers(0, 4)))


def _blob(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    radius, angle = between(rng, 0.025, 0.22), rng.uniform(0, np.pi)
    return shapes.blob(rng, size_px, middle, radius, between(rng, 1, 4), angle, rng.uniform(0.05, 0.5))


def _spots(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    radius = max(between(rng, 0.006, 0.025), 0.9 / size_px)
    return shapes.spots(rng, size_px, middle, rng.uniform(0.05, 0.25), int(rng.integers(3, 30)), radius)


def _ring(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    radius = between(rng, 0.06, 0.2)
    field = shapes.mound(rng, size_px, middle, radius, rng.uniform(1, 1.6), rng.uniform(0, np.pi), 0.15)
    return shapes.rim(field, 0.0, max(rng.uniform(0.08, 0.3), 1.2 / (radius * size_px)))


def _chip(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    return shapes.polygon(rng, size_px, middle, between(rng, 0.03, 0.2), int(rng.integers(3, 9)))


def _stripe(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    width = max(between(rng, 0.015, 0.1), 2 / size_px)
    return shapes.stripe(rng, size_px, middle, rng.uniform(0, np.pi), width, rng.uniform(0.02, 0.3))


def _droplets(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    return shapes.droplets(rng, size_px, middle, between(rng, 0.03, 0.1), rng.uniform(0, 2 * np.pi))


def _bite(rng: np.random.Generator, size_px: int, _: shapes.Point) -> np.ndarray:
    return shapes.border_bite(rng, size_px, between(rng, 0.04, 0.2), between(rng, 0.08, 0.5), rng.uniform(0.1, 0.4))


def _cloud(rng: np.random.Generator, size_px: int, middle: shapes.Point) -> np.ndarray:
    """Patches where noise rises above a level: the mask of rule-based anomaly synthesis, kept to one neighbourhood."""
    field = fractal(rng, size_px, between(rng, 2, 12), octaves=int(rng.integers(1, 5)))
    x, y = grid(size_px)
    near = np.hypot(x - np.float32(middle[0]), y - np.float32(middle[1])) / np.float32(rng.uniform(0.15, 0.5))
    return np.asarray(field - near * near > rng.uniform(0.3, 1.0), np.float32)


OUTLINES: dict[str, tuple[float, Outline]] = {  # how often, and what
    "blob": (0.24, _blob),
    "scratch": (0.15, _scratch),
    "cloud": (0.15, _cloud),
    "crack": (0.1, _crack),
    "spots": (0.1, _spots),
    "chip": (0.08, _chip),
    "bite": (0.06, _bite),
    "droplets": (0.05, _droplets),
    "ring": (0.04, _ring),
    "stripe": (0.03, _stripe),
}


def mask_shape(rng: np.random.Generator, size_px: int, foreground: np.ndarray | None = None) -> np.ndarray:
    """A random defect mask, uint8 (size_px, size_px) in {0, 1}, covering 0.1 % to 20 % of the image.

    With ``foreground`` (bool (size_px, size_px), not empty) the shape is centred on the part and cut to it. A part
    of less than 0.1 % of the image is masked whole.
    """
    allowed = np.ones((size_px, size_px), bool) if foreground is None else np.asarray(foreground, bool)
    inside = np.flatnonzero(allowed)
    if len(inside) == 0:
        raise ValueError("mask_shape: the foreground is empty, so there is no place for a mask")
    names = list(OUTLINES)
    share = np.array([OUTLINES[name][0] for name in names])
    for _ in range(TRIES):
        outline = OUTLINES[names[int(rng.choice(len(names), p=share / share.sum()))]][1]
        row, column = divmod(int(inside[rng.integers(len(inside))]), size_px)
        cover = outline(rng, size_px, ((column + 0.5) / size_px, (row + 0.5) / size_px))
        mask = (cover > 0.5) & allowed
        if LEAST_SHARE <= mask.mean() <= MOST_SHARE:
            return mask.astype(np.uint8)
    return _nearest_pixels(allowed, int(inside[rng.integers(len(inside))]))


def _nearest_pixels(allowed: np.ndarray, centre: int) -> np.ndarray:
    """The last resort on a part too small or scattered for any shape: the part's pixels nearest to one of them."""
    size_px = len(allowed)
    row, column = divmod(centre, size_px)
    rows, columns = np.nonzero(allowed)
    count = max(1, int(np.ceil(LEAST_SHARE * allowed.size)))
    order = np.argsort((rows - row) ** 2 + (columns - column) ** 2, kind="stable")[:count]
    mask = np.zeros(allowed.shape, np.uint8)
    mask[rows[order], columns[order]] = 1
    return mask
