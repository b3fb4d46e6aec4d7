"""Faults of colour: stains, rust, discoloration, and the flat patches of ground faces."""

from __future__ import annotations

import numpy as np

from farm.surfaces.colour import any_colour, linear, tint
from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact
from farm.surfaces.defects.brush import LUMA, between, chance, filter_light, heading, lay, mean_colour, place, polish
from farm.surfaces.material import Material
from farm.surfaces.noise import blur, fractal, smoothstep, value

RUST = (linear(0.25, 0.12, 0.06), linear(0.48, 0.22, 0.08), linear(0.68, 0.36, 0.14))


@exact
def stain(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A dried or wet mark: a soft tinted area, darker at its edge where the liquid dried, with droplets beside it."""
    size_px, radius = material.size_px, between(rng, 0.04, 0.17)
    middle, angle = place(material, rng, 0.08), heading(material, rng, 0.2)
    field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 2.2), angle, rng.uniform(0.08, 0.35))
    body = shapes.cut(field, radius, rng.uniform(0.05, 0.9))
    if chance(rng, 0.3):
        body = np.maximum(body, shapes.droplets(rng, size_px, middle, radius * 0.7, rng.uniform(0, 6.3)))
    mottle = np.clip(1 + np.float32(rng.uniform(0, 0.35)) * fractal(rng, size_px, 0.6 / radius + 2, 3), 0.2, 1.6)
    edge = shapes.rim(field, rng.uniform(0, 0.12), rng.uniform(0.05, 0.15)) * body
    ring = rng.uniform(0.3, 1) if chance(rng, 0.5) else 0.0
    inner = rng.uniform(0.15, 1) if ring else 1.0
    cover = np.clip(body * mottle * np.float32(inner) + np.float32(ring) * edge, 0, 1)
    dye = _dye(rng)
    dark = float(mean_colour(material) @ LUMA) < 0.08
    if dark or chance(rng, 0.12):  # limescale, dried foam: pale on top instead of filtering
        lay(material, cover * np.float32(rng.uniform(0.15, 0.5)), 0.5 + 0.5 * dye)
    else:
        filter_light(material, cover, 1 - (1 - dye) * np.float32(rng.uniform(0.35, 1)))
    polish(material, np.clip(body, 0, 1), rng.uniform(0.4, 0.95) if chance(rng, 0.35) else rng.uniform(0, 0.3))
    return cover > 0.03


def _dye(rng: np.random.Generator) -> np.ndarray:
    """What a stain lets through (3,): tea, oil, soot or ink."""
    kind = rng.random()
    if kind < 0.4:
        return tint(rng, (0.05, 0.12), (0.3, 0.8), (0.45, 0.85))
    if kind < 0.75:
        return tint(rng, (0, 1), (0.0, 0.15), (0.25, 0.75))
    return any_colour(rng, (0.35, 0.85))


@exact
def rust(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Corrosion: scaly orange to dark brown at several scales, matt and rough, with a stained halo."""
    size_px, radius = material.size_px, between(rng, 0.04, 0.17)
    middle, angle = place(material, rng, 0.06), heading(material, rng)
    field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 3), angle, rng.uniform(0.25, 0.6))
    scale = fractal(rng, size_px, min(1.5 / radius, size_px / 6), octaves=4, gain=0.7)
    eaten = smoothstep(field + np.float32(rng.uniform(0.1, 0.35)) * scale, 0.0, rng.uniform(0.1, 0.4))
    halo = smoothstep(blur(field, radius * 0.1), -0.35, 0.3) * np.float32(rng.uniform(0, 0.5))
    tone = np.clip(0.5 + 0.3 * scale + 0.15 * fractal(rng, size_px, size_px / 6, 2), 0, 1)[..., None]
    low, high = np.clip(tone * 2, 0, 1), np.clip(tone * 2 - 1, 0, 1)
    brown = (RUST[0] + (RUST[1] - RUST[0]) * low) * (1 - high) + RUST[2] * high
    filter_light(material, halo, np.array([1.0, 0.72, 0.45], np.float32))
    lay(material, eaten * np.float32(rng.uniform(0.65, 1)), np.asarray(brown * np.float32(rng.uniform(0.6, 1.2))))
    material.height += eaten * np.float32(rng.uniform(0.1, 0.7)) * (scale + np.float32(rng.uniform(-0.5, 0.8)))
    polish(material, np.maximum(eaten, halo * 0.5), 0.03)
    return np.maximum(eaten, halo) > 0.04


@exact
def discoloration(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A broad smooth change of tone: faded, scorched, tarnished or tempered."""
    size_px, radius = material.size_px, between(rng, 0.09, 0.22)
    middle = place(material, rng, 0.05)
    if chance(rng, 0.25):
        cover = shapes.stripe(rng, size_px, middle, heading(material, rng, 0.8), rng.uniform(0.05, 0.16), 0.3)
        cover = blur(cover, rng.uniform(0.005, 0.02))
    else:
        rough = rng.uniform(0.1, 0.3)
        field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 2.5), heading(material, rng), rough)
        cover = smoothstep(blur(field, radius * 0.15), 0.0, rng.uniform(0.3, 0.9))
    kind = rng.random()
    strength = np.float32(rng.uniform(0.35, 1))
    if kind < 0.4:
        filter_light(material, cover * strength, tint(rng, (0.02, 0.14), (0.2, 0.7), (0.5, 0.95)))
    elif kind < 0.7:
        filter_light(material, cover * strength, tint(rng, (0, 1), (0.1, 0.5), (0.6, 0.95)))
    else:  # bleached towards grey
        pale = material.albedo @ LUMA
        pale = np.clip(pale * np.float32(rng.uniform(1.1, 1.5)) + np.float32(rng.uniform(0.02, 0.12)), 0, 0.95)
        lay(material, cover * strength, np.repeat(pale[..., None], 3, axis=2))
    return cover > 0.05


@exact
def fray(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A patch of a ground face that the wheel missed: dull, darker, its grinding lines gone, ragged at one side."""
    size_px, radius = material.size_px, between(rng, 0.07, 0.2)
    middle = place(material, rng, 0.02)
    if chance(rng, 0.5):  # from the rim inwards
        middle = (middle[0], float(rng.choice((0.0, 1.0))))
    rough = rng.uniform(0.1, 0.5)
    field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 2.5), heading(material, rng, 0.8), rough)
    cover = shapes.cut(field, radius, between(rng, 0.05, 0.3))
    flat = blur(material.albedo, 0.03)
    flat = flat * (1 + np.float32(0.06) * value(rng, size_px, size_px / 3))[..., None]
    lay(material, cover * np.float32(rng.uniform(0.6, 1)), np.clip(flat * np.float32(rng.uniform(0.35, 0.8)), 0, 1))
    material.height += cover * (blur(material.height, 0.03) - material.height - np.float32(rng.uniform(0, 0.8)))
    polish(material, cover, 0.1)
    return cover > 0.05


@exact
def uneven(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A band along the image border that was ground at another depth: brighter or darker, sharp on its inner side."""
    size_px = material.size_px
    depth, side = rng.uniform(0.03, 0.16), int(rng.integers(4))
    wave = value(rng, size_px, rng.uniform(1, 4))[0] * np.float32(rng.uniform(0, 0.03))
    reach = (np.arange(size_px, dtype=np.float32) + np.float32(0.5)) / np.float32(size_px)
    edge = rng.uniform(0.01, 0.06)
    band = smoothstep(np.float32(depth) + wave[None, :] - reach[:, None], -edge / 2, edge / 2)
    cover = np.ascontiguousarray(np.rot90(band, side))
    filter_light(material, cover, rng.uniform(0.5, 0.85) if chance(rng, 0.5) else rng.uniform(1.2, 1.7))
    material.height -= cover * np.float32(rng.uniform(0, 1))
    return cover > 0.05
