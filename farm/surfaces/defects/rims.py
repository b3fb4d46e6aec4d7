"""Faults at the rim: broken edges and missing parts."""

from __future__ import annotations

import numpy as np

from farm.surfaces.colour import grey
from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact_at_rim
from farm.surfaces.defects.brush import (
    background_fill,
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
from farm.surfaces.noise import blur, fractal, grid, smoothstep


@exact_at_rim
def broken_edge(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A bite out of the rim of the part (or the image border): the background shows, before it a rough fracture."""
    size_px, radius = material.size_px, between(rng, 0.035, 0.13)
    middle, along = rim_point(material, rng)
    rough = rng.uniform(0.15, 0.5)
    field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 2.5), along, rough)
    broken = shapes.cut(field, radius)
    behind = background_fill(material)
    face = rng.uniform(0.1, 0.6) if behind is not None else rng.uniform(0.2, 1.2)
    gone = shapes.cut(field - np.float32(face), radius)
    _fracture(material, rng, broken)
    if behind is None:  # a texture: beyond its edge lies the dark of the fixture
        behind = np.broadcast_to(grey(rng, (0.02, 0.2)), material.albedo.shape)
    lay(material, gone, behind)
    material.height -= gone * np.float32(rng.uniform(1, 4))
    polish(material, gone, 0.02)
    return broken > 0.04


def _fracture(material: Material, rng: np.random.Generator, cover: np.ndarray) -> None:
    """Rough fresh material, lower than the skin, with conchoidal steps now and then."""
    size_px = material.size_px
    grain = fractal(rng, size_px, size_px / 10, octaves=3, gain=0.8)
    shade = np.clip(1 + np.float32(rng.uniform(0.08, 0.35)) * grain, 0.3, 1.8)
    alike = mean_colour(material) * np.float32(rng.uniform(0.55, 1.15))  # one material through and through
    bared = alike if chance(rng, 0.55) else fresh(material, rng)
    lay(material, cover * np.float32(rng.uniform(0.75, 1)), np.clip(bared * shade[..., None], 0, 0.95))
    sunk = blur(cover, rng.uniform(0.5, 2.5) / 128)
    material.height += cover * (np.float32(rng.uniform(0.15, 0.6)) * grain) - cover * sunk * np.float32(
        rng.uniform(1, 4)
    )
    polish(material, cover, rng.uniform(0, 0.2))


@exact_at_rim
def missing_part(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A piece that is not there: the part cut down to the background, or its skin peeled to the layer below."""
    behind = background_fill(material)
    if behind is None or chance(rng, 0.15):
        return _peeled(material, rng)
    size_px = material.size_px
    (x, y), along = rim_point(material, rng)
    if chance(rng, 0.5):  # cut off along a line
        depth = between(rng, 0.03, 0.15)
        turn = along + rng.normal(0, 0.25)
        u, v = grid(size_px)
        across = (v - np.float32(y)) * np.float32(np.cos(turn)) - (u - np.float32(x)) * np.float32(np.sin(turn))
        run = (u - np.float32(x)) * np.float32(np.cos(turn)) + (v - np.float32(y)) * np.float32(np.sin(turn))
        wave = np.float32(0.01) * fractal(rng, size_px, 3, 3)
        gone = smoothstep(depth + wave - np.abs(across), 0, 1.5 / size_px) * (np.abs(run) < between(rng, 0.12, 0.4))
    else:
        radius = between(rng, 0.06, 0.17)
        gone = shapes.blob(rng, size_px, (x, y), radius, between(rng, 1, 2), along, rng.uniform(0.02, 0.12))
    lay(material, gone, behind)
    outside = ~material.foreground
    material.height += gone * (np.float32(material.height[outside].mean()) - material.height)
    polish(material, gone, float(material.gloss[outside].mean()))
    wall = np.clip(blur(gone, 0.8 / 128) * 2, 0, 1) * (1 - gone)
    filter_light(material, wall, rng.uniform(0.5, 0.95))
    return (gone > 0.04) | (wall > 0.12)


def _peeled(material: Material, rng: np.random.Generator) -> np.ndarray:
    """The skin gone from a patch with a step at its edge: flaked paint, a lost pad, a delaminated ply."""
    size_px, radius = material.size_px, between(rng, 0.05, 0.17)
    field = shapes.mound(
        rng,
        size_px,
        place(material, rng, 0.08),
        radius,
        between(rng, 1, 2.5),
        heading(material, rng),
        rng.uniform(0.1, 0.45),
    )
    gone = shapes.cut(field, radius)
    below = fresh(material, rng)
    if chance(rng, 0.3):
        below = grey(rng, (0.15, 0.8))
    grain = np.clip(1 + np.float32(rng.uniform(0.03, 0.15)) * fractal(rng, size_px, size_px / 8, 3, 0.7), 0.4, 1.6)
    lay(material, gone, np.clip(below * grain[..., None], 0, 0.95))
    keep = np.float32(rng.uniform(0.1, 0.6))
    floor = np.float32(material.height.mean() - between(rng, 0.6, 2.5))
    step = gone * blur(gone, 0.7 / 128)
    material.height += step * (floor + keep * (material.height - material.height.mean()) - material.height)
    polish(material, gone, rng.uniform(0, 0.4))
    shade = np.roll(blur(gone, 1 / 128), (1, 1), (0, 1)) * (1 - gone)
    filter_light(material, shade, 0.8 if float(mean_colour(material).mean()) > 0.1 else 1.2)
    return (gone > 0.04) | (shade > 0.12)
