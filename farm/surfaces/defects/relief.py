"""Faults of form: dents, pits, holes and blowholes."""

from __future__ import annotations

import numpy as np

from farm.surfaces.colour import grey
from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact
from farm.surfaces.defects.brush import between, chance, filter_light, fresh, heading, lay, mean_colour, place, polish
from farm.surfaces.material import Material
from farm.surfaces.noise import blur, fractal, streaks, value

FRAYING = {"woven_fabric", "knitted_fabric", "felt_textile"}


@exact
def dent(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A smooth hollow (or bulge) with a soft shoulder, sometimes bruised."""
    size_px, radius = material.size_px, between(rng, 0.03, 0.13)
    stretch = between(rng, 1, 4) if chance(rng, 0.4) else rng.uniform(1, 1.3)
    field = shapes.mound(rng, size_px, place(material, rng, 0.08), radius, stretch, heading(material, rng), 0.12)
    field = blur(field, radius * 0.12)
    bowl = np.clip(field, 0, 1) if chance(rng, 0.35) else np.clip(1 - (1 - np.clip(field, 0, 1)) ** 2, 0, 1)
    bowl = bowl * bowl * (3 - 2 * bowl)
    slope = between(rng, 0.35, 1.5)
    depth = np.float32(slope * radius * 128 * 0.6 * (-1 if chance(rng, 0.2) else 1))
    shoulder = shapes.rim(field, -0.08, 0.16) * (field < 0.3)
    material.height += depth * (np.float32(rng.uniform(0, 0.2)) * shoulder - bowl)
    if chance(rng, 0.5):
        filter_light(material, bowl, rng.uniform(0.6, 0.95) if chance(rng, 0.7) else rng.uniform(1.05, 1.3))
        polish(material, bowl, rng.uniform(0, 0.8))
    return (bowl > 0.02) | (shoulder > 0.2)


@exact
def pit(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Pitting: a cluster of small rough craters, or one spalled patch eaten out of the skin."""
    size_px = material.size_px
    if chance(rng, 0.5):
        count, radius = int(rng.integers(4, 40)), max(between(rng, 0.005, 0.016), 0.7 / size_px)
        cover = shapes.spots(rng, size_px, place(material, rng, 0.1), rng.uniform(0.04, 0.2), count, radius)
    else:
        radius = between(rng, 0.025, 0.1)
        field = shapes.mound(
            rng, size_px, place(material, rng, 0.08), radius, between(rng, 1, 3), heading(material, rng), 0.35
        )
        holes = fractal(rng, size_px, min(1.2 / radius, size_px / 5), octaves=3, gain=0.7)
        cover = shapes.cut(np.minimum(field, 0.9 * field + 0.3 * holes - 0.05), radius, 0.1)
    lips = np.clip(blur(cover, 0.8 / 128) * 1.5 - cover, 0, 1)
    depth = between(rng, 0.5, 3)
    rough = value(rng, size_px, size_px / 3) * np.float32(0.3)
    material.height += np.float32(depth) * (0.3 * lips - cover * (1 + rough))
    inside = mean_colour(material) * np.float32(rng.uniform(0.12, 0.55))
    if chance(rng, 0.3):
        inside = inside * np.array([1.15, 0.9, 0.65], np.float32)  # corroded
    lay(material, cover * np.clip(0.8 + 0.5 * rough, 0, 1) * np.float32(rng.uniform(0.6, 1)), inside)
    if chance(rng, 0.6):
        filter_light(material, lips, rng.uniform(1.1, 1.6))
    polish(material, cover, 0.05)
    return (cover > 0.04) | (lips > 0.12)


@exact
def hole(material: Material, rng: np.random.Generator) -> np.ndarray:
    """An opening through the part: dark, deep, with one wall in the light and a worn or frayed margin."""
    size_px, radius = material.size_px, between(rng, 0.025, 0.11)
    middle, style = place(material, rng, 0.06), rng.random()
    if style < 0.3:  # drilled or punched
        field = shapes.mound(rng, size_px, middle, radius, 1, 0, 0.02)
    else:  # torn
        stretch, rough = between(rng, 1, 3), rng.uniform(0.12, 0.45)
        field = shapes.mound(rng, size_px, middle, radius, stretch, heading(material, rng), rough)
    if material.family in FRAYING:  # thread ends reach into the opening
        ends = streaks(rng, size_px, 40, material.grain_rad, 0.1)
        ends = np.maximum(ends, streaks(rng, size_px, 40, material.grain_rad + np.pi / 2, 0.1))
        field = field - np.float32(rng.uniform(0.1, 0.3)) * np.clip(ends, 0, 2)
    cover = shapes.cut(field, radius, rng.uniform(0, 0.15))
    margin = np.clip(blur(cover, between(rng, 0.6, 2) / 128) * 2, 0, 1) * (1 - cover)
    filter_light(material, margin, rng.uniform(0.6, 1.35))
    material.height += margin * np.float32(rng.uniform(-0.6, 0.8))
    behind = grey(rng, (0.02, 0.2)) if chance(rng, 0.85) else grey(rng, (0.5, 0.9))
    step = max(1, round(size_px * between(rng, 0.005, 0.015)))
    turn = rng.uniform(0, 2 * np.pi)
    shifted = np.roll(cover, (round(step * np.sin(turn)), round(step * np.cos(turn))), (0, 1))
    wall = blur(cover * (1 - shifted), 0.5 / 128)[..., None]
    inside = behind + (mean_colour(material) * np.float32(rng.uniform(0.2, 0.8)) - behind) * wall
    uneven = np.clip(1 + np.float32(0.2) * fractal(rng, size_px, 6, 3), 0.3, 2)[..., None]
    lay(material, cover, np.clip(inside * uneven, 0, 0.95))
    material.height -= blur(cover, 0.6 / 128) * cover * np.float32(rng.uniform(1.5, 5))
    polish(material, cover, 0.0)
    return (cover > 0.04) | (margin > 0.1)


@exact
def blowhole(material: Material, rng: np.random.Generator) -> np.ndarray:
    """One to three gas pores ground open: dark soft ovals along the grain, some with a pale ring."""
    size_px = material.size_px
    reach = np.zeros((size_px, size_px), bool)
    middle = place(material, rng, 0.06)
    for _ in range(1 if chance(rng, 0.6) else int(rng.integers(2, 4))):
        radius = max(between(rng, 0.014, 0.045), 1.6 / size_px)
        angle = material.grain_rad + rng.normal(0, 0.25)
        field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 3.5), angle, 0.18)
        cover = shapes.cut(field, radius, rng.uniform(0.2, 0.8)) * np.float32(rng.uniform(0.5, 1))
        ring = shapes.rim(field, 0.0, 0.3) * (1 - cover)
        if chance(rng, 0.4):  # only its wall is dark
            cover = cover * np.clip(1.3 - np.float32(rng.uniform(0.5, 1)) * np.clip(field, 0, 1), 0, 1)
        lay(material, cover, mean_colour(material) * np.float32(rng.uniform(0.08, 0.45)))
        if chance(rng, 0.4):
            filter_light(material, ring, rng.uniform(1.1, 1.4))
        material.height -= cover * np.float32(rng.uniform(0.5, 2.5))
        polish(material, cover, 0.05)
        reach |= field > -0.35
        shift = rng.normal(0, 0.06, 2)
        middle = (middle[0] + float(shift[0]), middle[1] + float(shift[1]))
    return reach


@exact
def chip(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A flake knocked out of the surface: a flat-floored, sharp-edged scar of fresh material."""
    size_px, radius = material.size_px, between(rng, 0.025, 0.1)
    middle = place(material, rng, 0.05)
    if chance(rng, 0.5):
        cover = shapes.polygon(rng, size_px, middle, radius * 1.2, int(rng.integers(4, 9)))
    else:
        cover = shapes.blob(rng, size_px, middle, radius, between(rng, 1, 2.5), heading(material, rng), 0.25)
    grain = fractal(rng, size_px, size_px / 8, octaves=3, gain=0.7)
    floor = fresh(material, rng)
    shade = np.clip(1 + np.float32(rng.uniform(0.05, 0.3)) * grain, 0.3, 2)
    lay(material, cover, np.clip(floor * shade[..., None], 0, 0.95))
    material.height -= cover * np.float32(between(rng, 0.5, 3)) * (1 + np.float32(0.15) * grain)
    polish(material, cover, rng.uniform(0, 0.3))
    return cover > 0.04
