"""Faults that lie on top: particles, fibres, chips, splashes and dust."""

from __future__ import annotations

import numpy as np

from farm.surfaces.colour import any_colour, grey, tint
from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact
from farm.surfaces.defects.brush import LUMA, between, chance, filter_light, lay, mean_colour, place, polish
from farm.surfaces.material import Material
from farm.surfaces.noise import blur, value


@exact
def contamination(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Foreign matter on the surface: particles, a fibre, chips, a splash or dust, with its contact shadow."""
    size_px = material.size_px
    draw = (_particles, _fibres, _chips, _splash, _dust)[int(rng.choice(5, p=(0.3, 0.25, 0.2, 0.15, 0.1)))]
    cover, lift, gloss = draw(material, rng)
    shadow = np.roll(blur(cover, 0.8 / 128), tuple(rng.integers(-1, 2, 2)), (0, 1)) * (1 - cover)
    filter_light(material, shadow, rng.uniform(0.35, 0.9))
    round_top = np.sqrt(blur(cover, 0.6 / 128) * cover)
    material.height += np.float32(lift) * round_top
    shade = np.clip(1 + np.float32(0.12) * value(rng, size_px, size_px / 4), 0.5, 1.5)
    colour = _matter(material, rng)
    lay(material, cover * np.float32(rng.uniform(0.7, 1)), np.clip(colour * shade[..., None], 0, 0.95))
    polish(material, cover, gloss)
    return (cover > 0.04) | (shadow > 0.12)


def _matter(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) that stands out from the part."""
    skin = mean_colour(material)
    for _ in range(8):
        kind = rng.random()
        if kind < 0.4:
            colour = grey(rng, (0.05, 0.35))
        elif kind < 0.7:
            colour = grey(rng, (0.7, 0.98))
        elif kind < 0.85:
            colour = tint(rng, (0.04, 0.13), (0.3, 0.8), (0.2, 0.7))
        else:
            colour = any_colour(rng)
        if abs(float((colour - skin) @ LUMA)) > 0.12:
            break
    return colour


def _particles(material: Material, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    count = int(rng.integers(1, 9))
    radius = between(rng, 0.008, 0.03) / count**0.25
    middle = place(material, rng, 0.06)
    cover = shapes.spots(
        rng, material.size_px, middle, rng.uniform(0.03, 0.25), count, max(radius, 1 / material.size_px)
    )
    return cover, rng.uniform(0.8, 3), rng.uniform(0, 0.6)


def _fibres(material: Material, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    size_px = material.size_px
    cover = np.zeros((size_px, size_px), np.float32)
    for _ in range(1 if chance(rng, 0.65) else int(rng.integers(2, 5))):
        bend, wander = rng.uniform(0.3, 3.5), rng.uniform(0.03, 0.3)
        path = shapes.curve(
            rng, place(material, rng, 0.1), rng.uniform(0, np.pi), between(rng, 0.15, 0.6), bend, wander
        )
        width = max(between(rng, 0.006, 0.014), 0.8 / size_px)
        cover = np.maximum(cover, shapes.ribbon(size_px, path, width * (1 + rng.normal(0, 0.08, len(path)))))
    return cover, rng.uniform(0.4, 1.2), 0.15


def _chips(material: Material, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    size_px = material.size_px
    cover = np.zeros((size_px, size_px), np.float32)
    middle, spread = np.asarray(place(material, rng, 0.08)), rng.uniform(0.02, 0.15)
    count = int(rng.integers(1, 7))
    for _ in range(count):
        x, y = middle + rng.normal(0, spread / 2, 2)
        radius = max(between(rng, 0.012, 0.05) / count**0.3, 1.2 / size_px)
        cover = np.maximum(cover, shapes.polygon(rng, size_px, (x, y), radius, int(rng.integers(3, 8))))
    return cover, rng.uniform(0.5, 2), rng.uniform(0, 0.7)


def _splash(material: Material, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    radius = between(rng, 0.025, 0.07)
    cover = shapes.droplets(rng, material.size_px, place(material, rng, 0.08), radius, rng.uniform(0, 2 * np.pi))
    return cover, rng.uniform(0.3, 2), rng.uniform(0.3, 0.95)


def _dust(material: Material, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    size_px = material.size_px
    count, radius = int(rng.integers(30, 90)), max(between(rng, 0.003, 0.007), 0.6 / size_px)
    cover = shapes.spots(rng, size_px, place(material, rng, 0.15), rng.uniform(0.15, 0.35), count, radius)
    return cover, 0.5, 0.0
