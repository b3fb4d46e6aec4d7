"""Faults that are lines: scratches and cracks."""

from __future__ import annotations

import cv2
import numpy as np

from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact
from farm.surfaces.defects.brush import (
    LUMA,
    between,
    chance,
    filter_light,
    fresh,
    heading,
    lay,
    mean_colour,
    place,
    polish,
    rim_point,
)
from farm.surfaces.material import Material
from farm.surfaces.noise import blur, value, worley


@exact
def scratch(material: Material, rng: np.random.Generator) -> np.ndarray:
    """One stroke, a few parallel ones, or a scuff of many: a groove with raised lips and bared material."""
    cover = _strokes(material, rng)
    if chance(rng, 0.35):  # the tool skipped
        cover = cover * (value(rng, material.size_px, rng.uniform(4, 14)) > rng.uniform(-1.2, -0.2))
    depth = between(rng, 0.3, 2.2)
    pressure = 1 + np.float32(rng.uniform(0.05, 0.25)) * value(rng, material.size_px, rng.uniform(12, 40))
    pressed = blur(cover * np.clip(pressure, 0.2, 1), 0.3 / 128)
    lips = np.clip(blur(pressed, between(rng, 0.5, 1.1) / 128) * 1.6 - pressed, 0, 1)
    material.height += np.float32(depth) * (np.float32(rng.uniform(0.2, 0.8)) * lips - pressed)
    bared = fresh(material, rng)
    lay(material, pressed * np.float32(rng.uniform(0.3, 0.95)), bared)
    if chance(rng, 0.5):  # dust or burr on the lips
        filter_light(material, lips, rng.uniform(1.1, 1.5))
    polish(material, pressed, rng.uniform(0, 1))
    return (pressed > 0.04) | (lips > 0.1)


def _strokes(material: Material, rng: np.random.Generator) -> np.ndarray:
    size_px = material.size_px
    angle, middle = heading(material, rng), place(material, rng, 0.1)
    kind = rng.random()
    if kind < 0.6:
        strokes, length, spread = 1, between(rng, 0.18, 0.8), 0.0
    elif kind < 0.85:
        strokes, length, spread = int(rng.integers(2, 5)), between(rng, 0.12, 0.5), rng.uniform(0.02, 0.1)
    else:
        strokes, length, spread = int(rng.integers(6, 14)), between(rng, 0.08, 0.25), rng.uniform(0.02, 0.06)
    width = max(between(rng, 0.007, 0.03) / np.sqrt(strokes), 1.0 / size_px)
    bend, wander = (rng.uniform(0, 0.4), 0.0) if chance(rng, 0.7) else (rng.uniform(0, 1.1), rng.uniform(0, 0.08))
    cover = np.zeros((size_px, size_px), np.float32)
    for _ in range(strokes):
        shift = rng.normal(0, spread, 2)
        along = angle + rng.normal(0, 0.08)
        path = shapes.curve(rng, (middle[0] + shift[0], middle[1] + shift[1]), along, length, bend, wander)
        thick = shapes.taper(rng, len(path), width * rng.uniform(0.6, 1.2))
        cover = np.maximum(cover, np.float32(rng.uniform(0.5, 1)) * shapes.ribbon(size_px, path, thick))
        length *= rng.uniform(0.7, 1.2)
    return cover


@exact
def crack(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A jagged split: free with branches, from the rim, along the grain, or a net of fine ones (crazing)."""
    size_px = material.size_px
    width = max(between(rng, 0.006, 0.02), 1.0 / size_px)
    style = rng.random()
    if material.family == "cookie":
        cover = _split(material, rng)
    elif style < 0.15:
        near, second, _ = worley(rng, size_px, rng.uniform(7, 14))
        radius = rng.uniform(0.1, 0.22)
        patch = shapes.blob(rng, size_px, place(material, rng, 0.15), radius, rng.uniform(1, 2), 0, 0.3, 0.6)
        gap = cv2.GaussianBlur(second - near, (0, 0), 0.4)
        cover = np.clip(1.4 - gap / np.float32(rng.uniform(0.07, 0.12)), 0, 1) * patch
    elif style < 0.4:
        angle, length = material.grain_rad + rng.normal(0, 0.1), between(rng, 0.25, 1.0)
        x, y = place(material, rng, 0.05)
        start = (x - length / 2 * np.cos(angle), y - length / 2 * np.sin(angle))
        cover = shapes.crack(
            rng, size_px, start, angle, length, width, int(rng.integers(0, 2)), rng.uniform(0.01, 0.05)
        )
    else:
        start = rim_point(material, rng)[0] if chance(rng, 0.4) else place(material, rng, 0.12)
        goal = place(material, rng, 0.2)
        angle = float(np.arctan2(goal[1] - start[1], goal[0] - start[0]))
        cover = shapes.crack(rng, size_px, start, angle, between(rng, 0.25, 0.9), width, int(rng.integers(0, 4)))
    _open(material, rng, np.asarray(cover, np.float32))
    return np.asarray(cover > 0.04)


def _split(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A wide gap from the rim right into a crumbly part."""
    (x, y), _ = rim_point(material, rng)
    rows, columns = np.nonzero(material.foreground)
    heart = (columns.mean() / material.size_px - x, rows.mean() / material.size_px - y)
    angle = float(np.arctan2(heart[1], heart[0]) + rng.normal(0, 0.35))
    length = float(np.hypot(*heart)) * rng.uniform(0.7, 2.0)
    width, start = between(rng, 0.012, 0.06), (x - 0.02 * np.cos(angle), y - 0.02 * np.sin(angle))
    return shapes.crack(rng, material.size_px, start, angle, length, width, int(rng.integers(0, 3)), 0.1)


def _open(material: Material, rng: np.random.Generator, cover: np.ndarray) -> None:
    """Darken and deepen a crack; some show a brighter broken edge on one side."""
    material.height -= np.float32(between(rng, 0.8, 5)) * cover
    skin = mean_colour(material)
    inside = skin * np.float32(rng.uniform(0.03, 0.4))
    if float(skin @ LUMA) < 0.04 and chance(rng, 0.7):  # on black a crack shows by its dust or broken edge
        inside = skin + np.float32(rng.uniform(0.1, 0.3))
    lay(material, cover * np.float32(rng.uniform(0.6, 1)), inside)
    polish(material, cover, 0.02)
